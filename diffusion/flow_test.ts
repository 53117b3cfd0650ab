import { assert, assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { eachDevice, scaledError } from "../tests/devices.ts";
import { add, clamp, concat, mul, reshape, sub } from "../autograd/mod.ts";
import { Generator, randn, scope, type Tensor, tensor, zeros } from "../tensor/mod.ts";
import {
  createProcess,
  FlowMatching,
  type FlowOptions,
  type ModelFunction,
  type Objective,
  sample,
  SAMPLER_NAMES,
  SAMPLERS,
  type TimestepSamplerName,
} from "./mod.ts";
import { normalQuantile, shiftTime } from "./flow_times.ts";

const DATA = { mean: 0.3, std: 0.5 };
const SHAPE = [2, 1, 4, 4];
const OPTIONS = { clipDenoised: false } as const;

/** The best possible model of {@link DATA}. */
function exactModel({ objective }: FlowMatching): ModelFunction {
  return (x, _t, _kwargs, at) => {
    const t = at![0]!;
    const variance = (t * DATA.std) ** 2 + (1 - t) ** 2; // of x_t
    const centered = sub(x, t * DATA.mean);
    if (objective === "xstart") {
      return add(mul(centered, t * DATA.std ** 2 / variance), DATA.mean);
    }
    return add(mul(centered, (t * DATA.std ** 2 - (1 - t)) / variance), DATA.mean);
  };
}

const start = (): Tensor => randn(SHAPE, { generator: new Generator(1) });

/** Largest distance from where the exact flow leads, which keeps standard deviations from the mean. */
async function errorOf(
  flow: FlowMatching,
  sampler: "euler" | "heun" | "ddim" | "dpm++",
  steps: number,
): Promise<number> {
  using _ = scope();
  const noise = start();
  const out = await sample(flow, exactModel(flow), SHAPE, { ...OPTIONS, sampler, steps, noise });
  const want = (await noise.data()).map((z) => DATA.mean + DATA.std * z);
  return Math.max(...(await out.data()).map((v, i) => Math.abs(v - want[i]!)));
}

eachDevice("solvers of a flow converge with their order, whatever the model predicts", async () => {
  for (const objective of ["v", "xstart"] as const) {
    const flow = new FlowMatching({ objective });
    for (const [sampler, order] of [["euler", 1], ["heun", 2]] as const) {
      const [coarse, fine] = [await errorOf(flow, sampler, 20), await errorOf(flow, sampler, 40)];
      const found = Math.log2(coarse / fine);
      assert(found > order - 0.3, `${sampler} of ${objective}: order ${found}`);
    }
    assert(await errorOf(flow, "dpm++", 20) < await errorOf(flow, "euler", 20) / 2);
    assertAlmostEquals(await errorOf(flow, "ddim", 20), await errorOf(flow, "euler", 20), 1e-12);
  }
}, ["reference"]);

eachDevice("the SDE of a flow draws the data's mean and deviation", async () => {
  using _ = scope();
  for (const timeShift of [1, 4]) {
    const flow = new FlowMatching({ timeShift });
    const out = await sample(flow, exactModel(flow), [4, 1, 32, 32], {
      ...OPTIONS,
      sampler: "euler-maruyama",
      steps: 100,
      generator: new Generator(2),
    });
    const values = Array.from(await out.data());
    const mean = values.reduce((a, b) => a + b) / values.length;
    const variance = values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length;
    assertAlmostEquals(mean, DATA.mean, 0.03); // four standard errors of 4096 numbers
    assertAlmostEquals(Math.sqrt(variance), DATA.std, 0.05);
  }
}, ["wasm"]);

eachDevice("one step of any sampler leads from noise to what is predicted there", async () => {
  using _ = scope();
  for (const sampler of SAMPLER_NAMES.filter((name) => !SAMPLERS[name].isAncestral)) {
    const calls: number[] = [];
    const flow = new FlowMatching({ objective: "xstart" });
    const model: ModelFunction = (x, _t, _kwargs, at) => {
      calls.push(at![0]!);
      return add(mul(x, 0), 0.25);
    };
    const noise = start();
    const out = await sample(flow, model, SHAPE, { sampler, steps: 1, noise });
    assertEquals(calls, [0]);
    if (sampler === "euler-maruyama") continue; // its last step is a mean of the SDE's
    (await out.data()).forEach((v) => assertAlmostEquals(v, 0.25, 1e-6));
  }
}, ["wasm"]);

eachDevice("guidance of a flow is limited to an interval of its times", async () => {
  using _ = scope();
  const y = tensor([1, 2]);
  const rows: number[] = [];
  const velocity = (x: Tensor, _t: Tensor, { y }: { y: Tensor }): Tensor => {
    rows.push(x.shape[0]!);
    return sub(mul(x, 0), reshape(y, [-1, 1, 1, 1]));
  };
  const noise = start();
  const out = await sample(new FlowMatching(), velocity, SHAPE, {
    ...OPTIONS,
    sampler: "euler",
    steps: 4,
    noise,
    modelKwargs: { y },
    guidance: { scale: 3, nullKwargs: { y: mul(y, 0) }, interval: [0.25, 0.5] },
  });
  assertEquals(rows, [2, 4, 4, 2]); // at 0, 0.25, 0.5 and 0.75
  const from = await noise.data();
  (await out.data()).forEach((v, i) => {
    assertAlmostEquals(v, from[i]! - (0.5 * 3 + 0.5) * (i < 16 ? 1 : 2), 1e-5);
  });
}, ["wasm"]);

eachDevice("losses of x_0 are those of the velocity that it means", async () => {
  using _ = scope();
  const xStart = randn(SHAPE, { generator: new Generator(3) });
  const noise = start();
  const times = [0.2, 0.9];
  const loss = async (objective: Objective, model: ModelFunction) => {
    const flow = new FlowMatching({ objective });
    return await flow.trainingLosses(model, xStart, times, { noise }).loss.data();
  };
  const guess: ModelFunction = (x) => mul(x, 0.5);
  const perTime = tensor(times.map((t) => 1 / (1 - t)), [2, 1, 1, 1]);
  const asVelocity: ModelFunction = (x) => mul(sub(mul(x, 0.5), x), perTime);
  assert(scaledError(await loss("xstart", guess), await loss("v", asVelocity)) < 1e-6);
}, ["reference"]);

eachDevice("a flow leaves alone the channels that SiT's models have beside", async () => {
  using _ = scope();
  const [wide, plain] = [new FlowMatching({ learnSigma: true }), new FlowMatching()];
  const narrow = exactModel(plain);
  const model: ModelFunction = (...args) => concat([narrow(...args), zeros(SHAPE)], 1);
  const want = plain.predictXstart(narrow, start(), 0.5);
  const got = wide.predictXstart(model, start(), 0.5);
  assertEquals(await got.data(), await want.data());
  assertThrows(() => wide.predictXstart(narrow, start(), 0.5), Error, "learned variance");
}, ["wasm"]);

eachDevice("a classifier moves the velocity of a flow by its gradient", async () => {
  using _ = scope();
  const flow = new FlowMatching();
  const x = start();
  const predict = (t: number, condFn?: () => Tensor) =>
    flow.predictXstart(exactModel(flow), x, t, { ...OPTIONS, ...(condFn ? { condFn } : {}) });
  const moved = sub(predict(0.5, () => add(mul(x, 0), 2)), predict(0.5));
  (await moved.data()).forEach((v) => assertAlmostEquals(v, 2 * 0.5 ** 2 / 0.5, 1e-5));
  const atNoise = predict(0, () => add(mul(x, 0), 2));
  assertEquals(await atNoise.data(), await predict(0).data());
  const clipped = flow.predictXstart(exactModel(flow), mul(x, 9), 0.5);
  assertEquals(await clipped.data(), await clamp(clipped, -1, 1).data());
}, ["wasm"]);

Deno.test("times of a flow are drawn by name, shifted, and again from a state", () => {
  const flow = new FlowMatching({ timeShift: 3 });
  const u = [0, 0.25, 0.5, 0.75];
  assertEquals(
    flow.timestepSampler("uniform").sample(4, u).timesteps,
    u.map((t) => shiftTime(t, 3)),
  );
  const normal = new FlowMatching().timestepSampler("logit-normal", { mean: -0.8, scale: 0.5 });
  const { timesteps, weights } = normal.sample(4, u);
  assertEquals(timesteps[0], 0);
  assertAlmostEquals(timesteps[2]!, 1 / (1 + Math.exp(0.8)), 1e-12);
  assertEquals([...weights], [1, 1, 1, 1]);
  assertEquals(normal.sample(9, new Generator(1)), normal.sample(9, new Generator(1)));
  assert(normal.sample(99, new Generator(2)).timesteps.every((t) => t > 0 && t < 1));
  assertEquals(normal.learns, false);
  normal.load(normal.state());
  assertThrows(() => normal.load({ name: "uniform", history: [] }), RangeError, "logit-normal");
});

Deno.test("a share of a normal variable is below its quantile", () => {
  const known = [[0.5, 0], [0.975, 1.9599639845], [0.9, 1.2815515655], [1e-10, -6.3613409024]];
  for (const [p, quantile] of known) {
    assertAlmostEquals(normalQuantile(p!), quantile!, 1e-6);
    if (p! > 1e-6) assertAlmostEquals(normalQuantile(1 - p!), -quantile!, 1e-6);
  }
  assertEquals([normalQuantile(0), normalQuantile(1)], [-Infinity, Infinity]);
});

Deno.test("samplers of a flow stop at times from noise on", () => {
  const flow = new FlowMatching();
  assertEquals(flow.stops(4, "time"), [0, 0.25, 0.5, 0.75]);
  assertEquals(flow.stops(3, "sde"), [0, 0.48, 0.96]);
  for (const spacing of ["time", "logSnr", "karras", "sde"] as const) {
    for (const shift of [0.3, 1, 4]) {
      const stops = new FlowMatching({ timeShift: shift }).stops(30, spacing);
      assertEquals([stops.length, stops[0]], [30, 0]);
      assert(stops.every((t, i) => t < 1 && (i === 0 || t > stops[i - 1]!)), spacing);
    }
    assertEquals(flow.stops(1, spacing), [0]);
  }
  assertAlmostEquals(new FlowMatching({ timeShift: 3 }).stops(2, "time")[1]!, 0.25, 1e-12);
  for (const timeShift of [1.5, 4]) { // the last step, a mean, is as long as without it
    assertAlmostEquals(new FlowMatching({ timeShift }).stops(9, "sde")[8]!, 0.96, 1e-12);
  }
  assertEquals(flow.levelAt(0.25), { t: 0.25, modelTime: 0.25, alpha: 0.25, sigma: 0.75 });
  assertEquals(flow.levelAt(-1), { t: 1, modelTime: 1, alpha: 1, sigma: 0 });
  assertThrows(() => flow.stops(0, "time"), RangeError, "1 or more steps");
  assertThrows(() => flow.stops(2, "cold" as "time"), RangeError, "but got cold");
});

eachDevice("what a flow cannot be or do is refused, naming it", async () => {
  using _ = scope();
  const flow = createProcess("flow") as FlowMatching;
  assertEquals([flow.name, flow.objective, flow.timeShift], ["flow", "v", 1]);
  const made = (options: FlowOptions) => () => new FlowMatching(options);
  assertThrows(made({ objective: "epsilon" }), RangeError, "expected objective v, xstart but got");
  assertThrows(made({ timeShift: 0 }), RangeError, "a time shift above 0 but got 0");
  const times = (name: TimestepSamplerName, options = {}) => () =>
    flow.timestepSampler(name, options);
  assertThrows(times("loss-second-moment"), RangeError, "expected uniform or logit-normal");
  assertThrows(times("logit-normal", { scale: 0 }), RangeError, "scale above 0 but got 0 and 0");
  const predict = (t: number | number[] | Tensor) => () =>
    flow.predictXstart(exactModel(flow), start(), t);
  assertThrows(predict(999), RangeError, "expected times in [0, 1] but got 999");
  assertThrows(predict([0.5]), Error, "expected times of shape [2]");
  assertThrows(predict(tensor([0, 1])), TypeError, "expected times as numbers");
  const misspelt = { modelKwarg: {} } as object;
  const losses = () => flow.trainingLosses(exactModel(flow), start(), 0.5, misspelt);
  assertThrows(losses, TypeError, "trainingLosses: unknown option modelKwarg");
  const run = () => sample(flow, exactModel(flow), SHAPE, { sampler: "ddpm" });
  await assertRejects(run, RangeError, "but the process is flow");
}, ["reference"]);
