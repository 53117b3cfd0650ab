/** Five whole training steps against the original's: losses, weights and averages. */
import { assert, assertEquals } from "@std/assert";
import { backward, mean } from "../autograd/mod.ts";
import { createDiffusion } from "../diffusion/mod.ts";
import { DiT } from "../dit/mod.ts";
import { AdamW, Ema, withoutInit } from "../nn/mod.ts";
import { type HostArray, scope, tensor } from "../tensor/mod.ts";
import { assertAbsolute, assertScaled, type DiTCase, ditOptions } from "./goldens.ts";
import { Golden, goldenJson, goldenOnDevices } from "./goldens.ts";

interface Run {
  mode: "train" | "eval";
  lr: number;
  weight_decay: number;
  betas: [number, number];
  eps: number;
  ema_decay: number;
}

const STEPS = 5;
const BATCHES = "train/train_eval.safetensors"; // of both runs
const MODEL = ["dit/dit_b.json", "dit/dit_b.weights.safetensors"] as const;

/** One entry of a tensor [STEPS, ...]. */
function entry(golden: Golden, name: string, step: number): { data: number[]; shape: number[] } {
  const shape = golden.shape(name).slice(1);
  const size = shape.reduce((a, b) => a * b, 1);
  return { data: Array.from(golden.floats(name).subarray(step * size, (step + 1) * size)), shape };
}

async function train(name: string, checkpointing: boolean): Promise<void> {
  const run = await goldenJson<Run>(`train/${name}.json`);
  const golden = await Golden.load(`train/${name}.safetensors`);
  const batches = await Golden.load(BATCHES);
  const { config } = await goldenJson<DiTCase>(MODEL[0]);
  using model = withoutInit(() => new DiT(ditOptions(config)));
  model.loadStateDict((await Golden.load(MODEL[1])).state());
  model.train(run.mode === "train").gradientCheckpointing = checkpointing;
  const { lr, betas, eps, weight_decay: weightDecay } = run;
  using optimizer = new AdamW(model.namedParameters(), { lr, betas, eps, weightDecay });
  using ema = new Ema(model, { decay: run.ema_decay });
  const diffusion = createDiffusion();

  const losses: Promise<HostArray[]>[] = [];
  for (let step = 0; step < STEPS; step++) {
    using _ = scope();
    const floats = (from: Golden, what: string) => {
      const { data, shape } = entry(from, `in/${what}`, step);
      return tensor(data, shape);
    };
    const integers = (what: string) =>
      tensor(entry(batches, `in/${what}`, step).data, undefined, {
        dtype: "i32",
      });
    const x = floats(batches, "x");
    const noise = floats(batches, "noise");
    const y = integers("y");
    const uniforms = floats(golden, "drop_rand");
    const terms = diffusion.trainingLosses(
      (x, t) => model.forward(x, t, y, { uniforms }),
      x,
      integers("t"),
      { noise },
    );
    const loss = mean(terms.loss);
    losses.push(Promise.all([loss, terms.loss, terms.mse!, terms.vb!].map((t) => t.data())));
    optimizer.zeroGrad();
    backward(loss);
    optimizer.step();
    ema.update();
  }

  for (const [step, reads] of losses.entries()) {
    for (const [i, got] of (await reads).entries()) {
      const what = ["loss", "loss_vec", "mse", "vb"][i]!;
      const want = entry(golden, `out/${what}`, step).data;
      assertScaled(`${what} of step ${step}`, got, want, 1e-4);
    }
  }
  const unit = lr / 1e-4;
  let [total, far, count] = [0, 0, 0];
  for (const [key, parameter] of model.namedParameters()) {
    const [got, want] = [await parameter.data(), golden.floats(`final/${key}`)];
    assertAbsolute(key, got, want, 2 * lr * STEPS);
    for (const [i, value] of want.entries()) {
      const off = Math.abs(got[i]! - value);
      total += off;
      far += off > 2e-6 * unit ? 1 : 0;
      count++;
    }
  }
  assert(total / count < 1e-7 * unit, `weights are off by ${total / count} in the mean`);
  assert(far / count < 0.005, `${far} of ${count} weights are far off`);
  assertEquals(
    await model.posEmbed.data(),
    (await Golden.load(MODEL[1])).floats("pos_embed"),
  );
  for (const [key, average] of ema.stateDict()) {
    using t = average;
    if (golden.names(`ema/${key}`).length === 0) continue;
    assertAbsolute(`ema/${key}`, await t.data(), golden.floats(`ema/${key}`), 1e-6);
  }
}

for (const name of ["train_eval", "train_dropout"]) {
  const files = [`train/${name}.json`, `train/${name}.safetensors`, BATCHES, ...MODEL];
  goldenOnDevices(`${name}: five steps come to the original's weights`, files, () => {
    return train(name, false);
  });
  goldenOnDevices(`${name}: also where blocks are computed again`, files, () => {
    return train(name, true);
  }, ["wasm"]);
}
