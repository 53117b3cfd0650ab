import { assert, assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { eachDevice, scaledError } from "../../tests/devices.ts";
import { Generator, memory, randn, scope, type Tensor } from "../../tensor/mod.ts";
import {
  createDiffusion,
  sample,
  type SampleOptions,
  sampleProgressive,
  SAMPLER_NAMES,
  SAMPLERS,
  stepRange,
} from "../mod.ts";
import { exactFlow, exactModel } from "../exact_model_test_util.ts";

const DATA = { mean: 0.3, std: 0.5 };
const SHAPE = [2, 1, 4, 4];
const OPTIONS = { clipDenoised: false } as const;

/** So many base steps that rounding stops to timesteps does not show. */
const fine = createDiffusion({ diffusionSteps: 20000, learnSigma: false });
const usual = createDiffusion({ learnSigma: false });

/** The samplers of Gaussian diffusion. */
const NAMES = SAMPLER_NAMES.filter((name) => !SAMPLERS[name].isFlow);

const noise = (): Tensor => randn(SHAPE, { generator: new Generator(1) });

async function largestError(options: SampleOptions): Promise<number> {
  using _ = scope();
  const xT = noise();
  const got = await sample(fine, exactModel(fine, DATA), SHAPE, { ...options, noise: xT });
  const want = exactFlow(fine, DATA, await xT.data());
  return Math.max(...(await got.data()).map((v, i) => Math.abs(v - want[i]!)));
}

for (const [sampler, order] of [["ddim", 1], ["dpm++", 2], ["heun", 2]] as const) {
  eachDevice(`${sampler} converges to the exact flow with order ${order}`, async () => {
    const spacing = "logSnr";
    const coarse = await largestError({ ...OPTIONS, sampler, spacing, steps: 40 });
    const twice = await largestError({ ...OPTIONS, sampler, spacing, steps: 80 });
    assertAlmostEquals(Math.log2(coarse / twice), order, 0.25);
  }, ["reference"]);
}

eachDevice("all deterministic samplers arrive at the same samples", async () => {
  using _ = scope();
  const xT = noise();
  const run = async (options: SampleOptions): Promise<ArrayLike<number>> => {
    const model = exactModel(usual, DATA);
    using out = await sample(usual, model, SHAPE, { ...OPTIONS, ...options, noise: xT });
    return await out.data();
  };
  const want = exactFlow(usual, DATA, await xT.data());
  const limits = { ddim: [250, 1.5e-2], "dpm++": [50, 3e-3], heun: [40, 1.5e-2] } as const;
  for (const [sampler, [steps, limit]] of Object.entries(limits)) {
    const got = await run({ sampler: sampler as keyof typeof limits, steps });
    const error = scaledError(got, want);
    assert(error < limit, `${sampler} is off by ${error}`);
  }
}, ["reference", "wasm", "webgpu"]);

eachDevice("solvers take a model of any kind", async () => {
  using _ = scope();
  const xT = noise();
  const results: ArrayLike<number>[] = [];
  for (
    const kind of [{}, { predictXstart: true }, { objective: "v" }, { learnSigma: true }] as const
  ) {
    const diffusion = createDiffusion({ learnSigma: false, ...kind });
    const model = exactModel(diffusion, DATA);
    const options = { ...OPTIONS, sampler: "dpm++", steps: 10, noise: xT } as const;
    results.push(await (await sample(diffusion, model, SHAPE, options)).data());
  }
  for (const other of results) assert(scaledError(other, results[0]!) < 1e-4);
}, ["reference", "wasm"]);

eachDevice("ddpm samples have the mean and deviation of the data", async () => {
  using _ = scope();
  const diffusion = createDiffusion({ learnSigma: false, sigmaSmall: true });
  const out = await sample(diffusion, exactModel(diffusion, DATA), [4, 1, 32, 32], {
    ...OPTIONS,
    steps: 100,
    generator: new Generator(2),
  });
  const values = Array.from(await out.data());
  const mean = values.reduce((a, b) => a + b) / values.length;
  const variance = values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length;
  assertAlmostEquals(mean, DATA.mean, 0.03); // four standard errors of 4096 numbers
  // the smaller variance makes samples of 100 steps 7% too narrow, whatever the seed
  assertAlmostEquals(Math.sqrt(variance), DATA.std, 0.05);
}, ["wasm"]);

eachDevice(
  "a solver calls its model once or twice a step and leaves nothing behind",
  async (device) => {
    for (const [sampler, calls] of [["dpm++", 6], ["heun", 11]] as const) {
      let called = 0;
      const exact = exactModel(usual, DATA);
      const model: typeof exact = (...args) => {
        called++;
        return exact(...args);
      };
      const before = memory(device).tensors;
      const held: number[] = [];
      const generator = new Generator(3);
      const steps = sampleProgressive(usual, model, SHAPE, { sampler, steps: 6, generator });
      for await (const _ of steps) held.push(memory(device).tensors - before);
      assertEquals(held, new Array(6).fill(2)); // the sample and the predicted x_0
      assertEquals(called, calls);
    }
  },
  ["wasm"],
);

Deno.test("stops() go down from the last timestep to the first without repeating", () => {
  for (const spacing of ["time", "logSnr", "karras"] as const) {
    for (const steps of [2, 7, 50, 999, 1000]) {
      const stops = usual.stops(steps, spacing);
      assertEquals([stops.length, stops[0], stops.at(-1)], [steps, 999, 0]);
      assert(stops.every((t, i) => i === 0 || t < stops[i - 1]!), `${spacing} ${steps}`);
    }
    assertEquals(usual.stops(1, spacing), [999]);
  }
  assertThrows(() => usual.stops(1001, "time"), RangeError, "1 to 1000 steps");
  assertThrows(() => usual.stops(0, "karras"), RangeError);
});

eachDevice("one step leads from the last timestep to what is predicted there", async () => {
  using _ = scope();
  for (const sampler of NAMES.filter((name) => (SAMPLERS[name].leastSteps ?? 1) === 1)) {
    const seen: unknown[] = [];
    const exact = exactModel(usual, DATA);
    const model: typeof exact = (x, t, kwargs, at) => {
      seen.push(...at!);
      return exact(x, t, kwargs, at);
    };
    const steps = sampleProgressive(usual, model, SHAPE, { sampler, steps: 1, noise: noise() });
    for await (const { sample, predXstart, t } of steps) {
      assertEquals(t, 999);
      assert(scaledError(await sample.data(), await predXstart.data()) < 1e-5, sampler);
    }
    assertEquals(seen, [999, 999], sampler); // one call for a batch of two
  }
  const run = () => sample(usual, exactModel(usual, DATA), SHAPE, { sampler: "ddpm", steps: 1 });
  await assertRejects(run, RangeError, "expected 2 to 1000 steps of ddpm but got 1");
}, ["reference", "wasm"]);

eachDevice("every sampler takes few steps with a model of any kind", async () => {
  const kinds = [
    {},
    { learnSigma: false },
    { learnSigma: false, sigmaSmall: true },
    { objective: "xstart" },
    { objective: "v", learnSigma: false, noiseSchedule: "squaredcos_cap_v2" },
    { diffusionSteps: 21 },
    { diffusionSteps: 2, noiseSchedule: "squaredcos_cap_v2" },
  ] as const;
  for (const kind of kinds) {
    const diffusion = createDiffusion(kind);
    for (const sampler of NAMES) {
      const { least, most } = stepRange(diffusion, sampler);
      for (const steps of [least, Math.min(least + 1, most), Math.min(most, 5)]) {
        using _ = scope();
        const model = exactModel(diffusion, DATA);
        const options = { ...OPTIONS, sampler, steps, generator: new Generator(4) };
        const out = await (await sample(diffusion, model, [1, 1, 2, 2], options)).data();
        const what = `${sampler}, ${steps} steps, ${JSON.stringify(kind)}: ${out}`;
        assert(out.every(Number.isFinite), what);
      }
    }
  }
}, ["wasm"]);

Deno.test("stepRange() knows what a sampler can do, and its usual number as far as there is one", () => {
  assertEquals(stepRange(usual, "ddpm"), { least: 2, most: 1000, usual: 250 });
  const short = createDiffusion({ diffusionSteps: 25 });
  assertEquals(stepRange(short, "ddim"), { least: 1, most: 25, usual: 25 });
});

eachDevice("sample() refuses samplers and step counts that there are not", async () => {
  const model = exactModel(usual, DATA);
  const run = (options: SampleOptions) => sample(usual, model, SHAPE, options);
  await assertRejects(() => run({ sampler: "cold" as "ddim" }), RangeError, "but got cold");
  await assertRejects(() => run({ sampler: "heun", steps: 0 }), RangeError);
  await assertRejects(() => run({ sampler: "ddim", eta: 2 }), RangeError, "eta in [0, 1]");
  await assertRejects(() => run({ sampler: "heun", eta: 0.5 }), RangeError, "no eta with heun");
  await assertRejects(() => run({ sampler: "dpm++", steps: 1001 }), RangeError, "1 to 1000 steps");
}, ["reference"]);
