/** The smallest trainee there can be: y = a x + b, fitted to points of a line. */
import { add, mean, mul, square, sub } from "@dit/core/autograd";
import { constantSchedule, Linear, withoutInit } from "@dit/core/nn";
import { Generator, rand } from "@dit/core/tensor";
import { encodePng } from "@dit/data";
import type { BatchPart } from "../../cli/run/batch_parts.ts";
import type { RunFolder } from "../../cli/run/folder.ts";
import type { World } from "../../cli/distributed/world.ts";
import {
  type ModelSettings,
  ModelTrainee,
  type PartLoss,
  shareOf,
} from "../../cli/run/model_trainee.ts";
import { COMMON_CURVES } from "../../cli/run/report.ts";
import type { TraineeKind } from "../../cli/run/trainee.ts";

/** How its runs look. */
export const LINE: TraineeKind<object> = {
  trainee: "line",
  command: "fit",
  readConfig: ({ values }) => values,
  names: { description: "config.json", pictures: "plots" },
  pictures: "Plots",
  curves: [{ title: "Loss", unit: "", value: ({ loss }) => loss }, ...COMMON_CURVES],
  figures: ({ loss }) => `loss ${loss.toFixed(4)}`,
};

/** Its settings, some of which a test may change. */
export const SETTINGS: ModelSettings = {
  data: "points",
  batchSize: 4,
  seed: 1,
  flip: false,
  logEvery: 2,
  ckptEvery: 4,
  keep: 2,
  sampleEvery: 4,
  lr: 0.05,
  weightDecay: 0,
  emaDecay: 0.9,
  gradClip: 0,
  gradAccum: 2,
  mixedPrecision: "no",
};

/** A line in training. */
export class LineTrainee extends ModelTrainee<ModelSettings, Linear> {
  readonly kind = LINE;
  readonly name = "Line";
  readonly config = { inputs: 1 };
  readonly #noise: Generator;

  /**
   * A level line.
   *
   * @param world The ranks that share every batch; none but this one by default.
   */
  constructor(settings: ModelSettings, world?: World) {
    const noise = new Generator(settings.seed, 0, shareOf(world));
    const model = withoutInit(() => new Linear(1, 1));
    const zeros = (shape: readonly number[]) => ({ shape, data: new Float32Array(1) });
    model.loadStateDict({ weight: zeros([1, 1]), bias: zeros([1]) });
    super(settings, {
      model,
      schedule: constantSchedule(),
      emaWarmup: false,
      generators: { noise },
      world,
    });
    this.#noise = noise;
  }

  /** `images` [n, 1, 1, 2]: x and y; some noise, so that random streams matter. */
  protected loss({ images, count }: BatchPart): PartLoss {
    const x = images.as([count, 1], [2, 1]);
    const y = images.as([count, 1], [2, 1], images.offset + 1);
    const noise = mul(rand([count, 1], { generator: this.#noise }), 0.01);
    return { loss: mean(square(sub(this.model.forward(add(x, noise)), y))) };
  }

  async draw(): Promise<Uint8Array<ArrayBuffer>> {
    const [slope] = await this.averaged(async () => await this.model.weight.data());
    return await encodePng(Uint8Array.of(Math.round(100 * slope!)), 1, 1, 1);
  }

  async finish(folder: RunFolder): Promise<string[]> {
    const slope = await this.model.weight.item();
    await Deno.writeTextFile(folder.file("slope.txt"), String(slope));
    return [`slope    ${slope}`];
  }
}
