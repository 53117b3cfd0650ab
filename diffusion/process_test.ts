import { assert, assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { add, backward, mean, mul, reshape, sub } from "../autograd/mod.ts";
import { DiT } from "../dit/mod.ts";
import { AdamW } from "../nn/mod.ts";
import { eachDevice } from "../tests/devices.ts";
import { Generator, randn, scope, type Tensor, tensor } from "../tensor/mod.ts";
import { LinearFlow } from "./linear_flow_test_util.ts";
import {
  createProcess,
  GaussianDiffusion,
  type ModelFunction,
  PROCESS_NAMES,
  type ProcessName,
  sample,
  SAMPLER_NAMES,
  SAMPLERS,
} from "./mod.ts";

const flow = new LinearFlow();
const DATA = { mean: 0.3, std: 0.5 };
const SHAPE = [2, 1, 4, 4];
const ODE_SAMPLERS = SAMPLER_NAMES.filter((name) =>
  !SAMPLERS[name].isAncestral && !SAMPLERS[name].isFlow
);

/** The velocity that a perfectly trained model of {@link DATA} predicts: E[eps - x_0 | x_t]. */
const exactVelocity: ModelFunction = (x, _t, _kwargs, at) => {
  const t = at![0]!;
  const variance = ((1 - t) * DATA.std) ** 2 + t ** 2; // of x_t
  const centered = sub(x, (1 - t) * DATA.mean);
  const slope = (t - (1 - t) * DATA.std ** 2) / variance;
  return sub(mul(centered, slope), DATA.mean);
};

Deno.test("a process is made by its name", () => {
  for (const name of PROCESS_NAMES) {
    assert(createProcess(name, { learnSigma: false }).maxSteps > 1);
  }
  const process = createProcess("gaussian", { objective: "v", diffusionSteps: 100 });
  assert(process instanceof GaussianDiffusion);
  assertEquals([process.objective, process.numTimesteps], ["v", 100]);
  assertThrows(
    () => createProcess("cold" as ProcessName),
    RangeError,
    "gaussian, flow but got cold",
  );
});

eachDevice("another process goes through sample() with every solver of the flow", async () => {
  using _ = scope();
  const noise = randn(SHAPE, { generator: new Generator(1) });
  // the flow keeps how many standard deviations x is from the mean
  const want = (await noise.data()).map((z) => DATA.mean + DATA.std * z);
  for (const sampler of ODE_SAMPLERS) {
    const errors: number[] = [];
    for (const steps of [25, 50]) {
      const out = await sample(flow, exactVelocity, SHAPE, {
        sampler,
        steps,
        noise,
        clipDenoised: false,
      });
      const got = await out.data();
      errors.push(Math.max(...got.map((v, i) => Math.abs(v - want[i]!))));
    }
    assert(errors[1]! < 0.03 && errors[1]! < errors[0]!, `${sampler}: ${errors}`);
  }
}, ["wasm"]);

eachDevice("another process is guided as any other", async () => {
  using _ = scope();
  const y = tensor([1, 2]);
  const velocity = (x: Tensor, _t: Tensor, { y }: { y: Tensor }): Tensor =>
    sub(mul(x, 0), reshape(y, [-1, 1, 1, 1]));
  const out = await sample(flow, velocity, SHAPE, {
    sampler: "ddim",
    steps: 4,
    clipDenoised: false,
    generator: new Generator(2),
    modelKwargs: { y },
    guidance: { scale: 3, nullKwargs: { y: mul(y, 0) } },
  });
  const noise = await randn(SHAPE, { generator: new Generator(2) }).data();
  // a velocity of -3 y for a whole unit of time
  (await out.data()).forEach((v, i) => {
    assertAlmostEquals(v, noise[i]! + 3 * (i < 16 ? 1 : 2), 1e-5);
  });
}, ["wasm"]);

eachDevice("another process trains a DiT, at times between the timesteps", async () => {
  const generator = new Generator(3);
  using model = new DiT({
    inputSize: 4,
    inChannels: 1,
    hiddenSize: 16,
    depth: 1,
    numHeads: 2,
    numClasses: 3,
    learnSigma: false,
  }, { generator });
  using optimizer = new AdamW(model.namedParameters(), { lr: 1e-2 });
  const losses: number[] = [];
  for (let step = 0; step < 12; step++) {
    using _ = scope();
    const { timesteps } = flow.timestepSampler().sample(8, new Generator(4));
    assert(timesteps.some((t) => !Number.isInteger(t)));
    const { loss } = flow.trainingLosses(
      (x, t, { y }: { y: Tensor }) =>
        model.forward(x, t, y, { uniforms: tensor(new Array(8).fill(1)) }),
      add(randn([8, 1, 4, 4], { generator: new Generator(5) }), 2),
      timesteps,
      {
        modelKwargs: { y: tensor(new Array(8).fill(1), [8], { dtype: "i32" }) },
        generator: new Generator(6),
      },
    );
    const total = mean(loss);
    backward(total);
    losses.push(await total.item());
    optimizer.step();
    optimizer.zeroGrad();
  }
  assert(losses.at(-1)! < 0.8 * losses[0]!, String(losses));
}, ["wasm"]);

eachDevice("samplers that a process has no steps for are refused by name", async () => {
  const run = (sampler: "ddpm" | "euler-maruyama") => () =>
    sample(flow, exactVelocity, SHAPE, { sampler });
  const ancestral = "ddpm needs a process that knows p(x_{t-1} | x_t) but the process is lines";
  await assertRejects(run("ddpm"), RangeError, ancestral);
  const needsFlow = "euler-maruyama needs a flow but the process is lines";
  await assertRejects(run("euler-maruyama"), RangeError, needsFlow);
}, ["wasm"]);
