/** Flow matching of a DiT against the numbers of SiT's program. */
import { buildModel } from "@dit/core/pipeline";
import { assertEquals } from "@std/assert";
import { backward, mean } from "../autograd/mod.ts";
import { openWeights } from "../cli/model/weights.ts";
import {
  FlowMatching,
  type ModelFunction,
  sample,
  type SampleOptions,
  sampleProgressive,
} from "../diffusion/mod.ts";
import { shiftTime } from "../diffusion/flow_times.ts";
import { DiT } from "../dit/mod.ts";
import { loadWeights, withoutInit } from "../nn/mod.ts";
import { scope, type Tensor } from "../tensor/mod.ts";
import { goldenPath } from "./fixtures.ts";
import {
  assertAbsolute,
  assertGolden,
  assertScaled,
  type DiTCase,
  ditOptions,
  Golden,
  goldenJson,
  goldenOnDevices,
} from "./goldens.ts";

const FILES = [
  "flow/sit.json",
  "flow/sit.safetensors",
  "dit/dit_c.json",
  "dit/dit_c.weights.safetensors",
] as const;

interface SiTCase {
  sample: { num_steps: number; cfg_scale: number; time_shift: number };
  times: { logit_normal: [mean: number, scale: number][]; shift: number[] };
}

type Labels = { y: Tensor };

async function loadModel(): Promise<DiT> {
  const { config } = await goldenJson<DiTCase>(FILES[2]);
  const model = withoutInit(() => new DiT(ditOptions(config)));
  model.loadStateDict((await Golden.load(FILES[3])).state());
  return model.eval();
}

const labelled = (model: DiT): ModelFunction<Labels> => (x, t, { y }) => model.forward(x, t, y);

goldenOnDevices("losses of a flow and their gradients are SiT's", FILES, async () => {
  using _ = scope();
  const golden = await Golden.load(FILES[1]);
  using model = await loadModel();
  const flow = new FlowMatching();
  const options = {
    modelKwargs: { y: golden.tensor("train/y") },
    noise: golden.tensor("train/x0"), // SiT's x_0 is the noise
  };
  const xStart = golden.tensor("train/x1");
  const { loss } = flow.trainingLosses(labelled(model), xStart, golden.floats("train/t"), options);
  await assertGolden(golden, loss, "train/loss", 1e-5);
  backward(mean(loss));
  const parameters = new Map(model.namedParameters());
  for (const name of golden.names("train/grad/")) {
    await assertGolden(golden, parameters.get(name.slice(11))!.grad!, name, 1e-4);
  }
  for (const parameter of parameters.values()) parameter.zeroGrad();
  const ofX = new FlowMatching({ objective: "xstart" });
  const times = golden.floats("train/x/t");
  const { loss: lossOfX } = ofX.trainingLosses(labelled(model), xStart, times, options);
  await assertGolden(golden, lossOfX, "train/x/loss", 1e-5);
});

goldenOnDevices("samples of a flow are SiT's after every step", FILES, async () => {
  using _ = scope();
  const golden = await Golden.load(FILES[1]);
  const { sample: how } = await goldenJson<SiTCase>(FILES[0]);
  using model = await loadModel();
  const y = golden.tensor("sample/y");
  const guidance = { scale: how.cfg_scale, nullKwargs: { y: golden.tensor("sample/null") } };
  // SiT counts the ends of fixed steps of an ODE
  const ode = how.num_steps - 1;
  const cases: Record<string, SampleOptions<Labels> & { timeShift?: number }> = {
    euler: { sampler: "euler", steps: ode },
    euler_cfg: { sampler: "euler", steps: ode, guidance },
    heun: { sampler: "heun", steps: ode },
    heun_cfg: { sampler: "heun", steps: ode, guidance },
    euler_shift: { sampler: "euler", steps: ode, timeShift: how.time_shift },
    sde: { sampler: "euler-maruyama", steps: how.num_steps },
  };
  for (const [name, { timeShift = 1, ...options }] of Object.entries(cases)) {
    const z = golden.tensor("sample/z");
    const steps = sampleProgressive(new FlowMatching({ timeShift }), labelled(model), z.shape, {
      ...options,
      clipDenoised: false,
      modelKwargs: { y },
      noiseFn: (step) => step < 0 ? z : golden.part("sample/sde/noise", step),
    });
    const want = golden.floats(`sample/${name}`);
    let at = 0;
    for await (const { sample, step } of steps) {
      const got = await sample.data();
      assertScaled(`${name}, step ${step}`, got, want.slice(at, at += got.length), 2e-5);
    }
    assertAbsolute(`${name}, numbers`, [at], [want.length], 0);
  }
});

const CHECKPOINT = "flow/sit.pt";

goldenOnDevices("a checkpoint of SiT's trainer loads as a flow and samples as there", [
  CHECKPOINT,
  ...FILES,
], async () => {
  using _ = scope();
  const golden = await Golden.load(FILES[1]);
  using weights = await openWeights(goldenPath(CHECKPOINT)!);
  const { config } = weights;
  assertEquals([config.diffusion.process, config.diffusion.objective], ["flow", "v"]);
  assertEquals([config.dit.numClasses, config.dit.learnSigma], [3, true]);
  const { model, process } = buildModel(config, { dtype: "f32" });
  await loadWeights(model, weights.source);
  const z = golden.tensor("ckpt/z");
  const got = await sample(process, labelled(model.eval()), z.shape, {
    sampler: "heun",
    steps: 4,
    clipDenoised: false,
    noise: z,
    modelKwargs: { y: golden.tensor("ckpt/y") },
    guidance: { scale: 2.5, nullKwargs: { y: golden.tensor("ckpt/null") } },
  });
  await assertGolden(golden, got, "ckpt/heun_cfg", 2e-5);
  model.dispose();
});

goldenOnDevices("times of a flow are those of their formulas", FILES, async () => {
  const golden = await Golden.load(FILES[1]);
  const { times } = await goldenJson<SiTCase>(FILES[0]);
  const u = golden.doubles("times/u");
  const drawn = times.logit_normal.flatMap(([mean, scale]) =>
    new FlowMatching().timestepSampler("logit-normal", { mean, scale }).sample(u.length, u)
      .timesteps
  );
  assertAbsolute("logit-normal", drawn, golden.doubles("times/logit_normal"), 1e-6);
  const shifted = times.shift.flatMap((shift) =>
    [...golden.doubles("times/t")].map((t) => shiftTime(t, shift))
  );
  assertAbsolute("shift", shifted, golden.doubles("times/shift"), 1e-15);
}, ["reference"]);
