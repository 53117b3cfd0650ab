import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { concat, detach, mul } from "../autograd/mod.ts";
import { eachDevice, scaledError } from "../tests/devices.ts";
import {
  currentScope,
  type Device,
  Generator,
  memory,
  randn,
  scope,
  type Tensor,
  tensor,
  zeros,
} from "../tensor/mod.ts";
import { createDiffusion, type ModelFunction, type SamplingStep } from "./mod.ts";
import { exactFlow, exactModel } from "./exact_model_test_util.ts";

const SHAPE = [2, 2, 4, 4];
const diffusion = createDiffusion({ timestepRespacing: "6" });
/** Some function of x and t, with a variance between the limits. */
const model: ModelFunction = (x) => concat([mul(x, 0.4), mul(x, 0.1)], 1);

const values = async (result: Tensor | Promise<Tensor>): Promise<number[]> => {
  using t = await result;
  return [...await t.data()];
};

eachDevice(
  "the loops keep one sample and one prediction from step to step",
  async (device: Device) => {
    const before = memory(device).tensors;
    const loops = {
      p: () => diffusion.pSampleLoopProgressive(model, SHAPE, { generator: new Generator(1) }),
      ddim: () => diffusion.ddimSampleLoopProgressive(model, SHAPE, { eta: 1 }),
    };
    for (const loop of Object.values(loops)) {
      const held: number[] = [];
      for await (const { sample } of loop()) {
        assertEquals(sample.shape, SHAPE);
        held.push(memory(device).tensors - before);
      }
      assertEquals(held, new Array(6).fill(2));
      assertEquals(memory(device).tensors, before);
    }
  },
);

eachDevice("a loop that is left early frees what it held", async (device: Device) => {
  const before = memory(device).tensors;
  let kept: Tensor | undefined;
  for await (const { sample, step } of diffusion.pSampleLoopProgressive(model, SHAPE)) {
    kept ??= detach(sample);
    if (step === 2) break;
  }
  assertEquals(memory(device).tensors - before, 1);
  assertEquals((await values(kept!)).length, 64); // a handle of the caller outlives its step
});

eachDevice("a loop frees what it held when the model throws", async (device: Device) => {
  const before = memory(device).tensors;
  let calls = 0;
  const failing: ModelFunction = (x, t, kwargs) => {
    if (++calls === 3) throw new Error("no more");
    return model(x, t, kwargs);
  };
  await assertRejects(() => diffusion.pSampleLoop(failing, SHAPE), Error, "no more");
  assertEquals(memory(device).tensors, before);
  assertEquals(currentScope(), null);
});

eachDevice("what a loop returns belongs to the caller's scope", async (device: Device) => {
  const before = memory(device).tensors;
  {
    using _ = scope();
    await diffusion.ddimSampleLoop(model, SHAPE);
    assertEquals(memory(device).tensors - before, 1);
  }
  assertEquals(memory(device).tensors, before);
});

eachDevice("two loops may run at once", async () => {
  const run = (seed: number) =>
    diffusion.pSampleLoop(model, SHAPE, { generator: new Generator(seed) });
  const apart = [await values(run(1)), await values(run(2))];
  assertEquals(await Promise.all([values(run(1)), values(run(2))]), apart);
});

eachDevice("a run is replayed by its noise", async () => {
  const generator = new Generator(5);
  const drawn = Array.from({ length: 7 }, () => randn(SHAPE, { generator }));
  const seeded = diffusion.pSampleLoop(model, SHAPE, { generator: new Generator(5) });
  const want = await values(seeded);
  const asked: number[] = [];
  const noiseFn = (step: number) => {
    asked.push(step);
    return drawn[step + 1]!;
  };
  assertEquals(await values(diffusion.pSampleLoop(model, SHAPE, { noiseFn })), want);
  assertEquals(asked, [-1, 0, 1, 2, 3, 4]); // no noise in the last step
  const noise = drawn[0]!;
  assertEquals(await values(diffusion.pSampleLoop(model, SHAPE, { noise, noiseFn })), want);
  drawn.forEach((t) => t.dispose());
});

eachDevice("a sample with its own seed does not depend on the batch", async () => {
  const run = (seeds: number[]) =>
    values(diffusion.pSampleLoop(model, [seeds.length, 2, 4, 4], {
      generator: seeds.map((seed) => new Generator(seed)),
    }));
  const together = await run([11, 12, 13]);
  assertEquals(together.slice(32, 64), await run([12]));
  assertEquals(together.slice(32), await run([12, 13]));
});

eachDevice("one step takes each sample from its own timestep", async () => {
  using _ = scope();
  const x = randn(SHAPE, { generator: new Generator(3) });
  const noise = randn(SHAPE, { generator: new Generator(4) });
  const each = [0, 4].map((t) => diffusion.pSample(model, x, t, { noise }).sample);
  const mixed = await diffusion.pSample(model, x, [0, 4], { noise }).sample.data();
  const onDevice = tensor([0, 4], [2], { dtype: "i32" });
  const want = [
    ...(await each[0]!.data()).subarray(0, 32),
    ...(await each[1]!.data()).subarray(32),
  ];
  assert(scaledError(mixed, want) < 1e-6);
  const asTensor = await diffusion.pSample(model, x, onDevice, { noise }).sample.data();
  assert(scaledError(asTensor, want) < 1e-6);
  const ddim = await diffusion.ddimSample(model, x, [0, 4], { noise, eta: 0.5 }).sample.data();
  const alone = diffusion.ddimSample(model, x, 4, { noise, eta: 0.5 });
  assert(scaledError(ddim.subarray(32), (await alone.sample.data()).subarray(32)) < 1e-6);
});

eachDevice(
  "ddimReverseSampleLoop() finds the noise that ddimSampleLoop() started from",
  async () => {
    using _ = scope();
    const data = { mean: 0.2, std: 0.6 };
    const fine = createDiffusion({ learnSigma: false });
    const exact = exactModel(fine, data);
    const xT = randn([1, 1, 4, 4], { generator: new Generator(9) });
    const xStart = tensor(exactFlow(fine, data, await xT.data()), [1, 1, 4, 4]);
    const short = fine.respaced("200");
    const found = await short.ddimReverseSampleLoop(exact, xStart, { clipDenoised: false });
    // the last step ends in pure noise, where a little signal is left in x_T
    assert(scaledError(await found.data(), await xT.data()) < 0.03);
  },
);

eachDevice("one step of the whole process has no variance, but DDIM can take it", async () => {
  using _ = scope();
  const single = createDiffusion({ timestepRespacing: "1" });
  const x = zeros([1, 2, 2, 2]);
  assertThrows(
    () => single.pMeanVariance(model, x, 0),
    RangeError,
    "2 or more timesteps but got 1",
  );
  assertThrows(() => single.qPosteriorMeanVariance(x, x, 0), RangeError, "has no variance");
  assertEquals((await single.ddimSampleLoop(model, [1, 2, 2, 2])).shape, [1, 2, 2, 2]);
});

eachDevice("steps say which timestep of the model they began at", async () => {
  const steps: Pick<SamplingStep, "step" | "t">[] = [];
  for await (const { step, t } of diffusion.ddimSampleLoopProgressive(model, SHAPE)) {
    steps.push({ step, t });
  }
  assertEquals(steps.map(({ step }) => step), [0, 1, 2, 3, 4, 5]);
  assertEquals(steps.map(({ t }) => t), [999, 799, 599, 400, 200, 0]);
});

eachDevice("denoisedFn comes before clipping, and clipping can be left out", async () => {
  using _ = scope();
  const x = randn(SHAPE, { generator: new Generator(8) });
  const largest = async (
    options: { clipDenoised?: boolean; denoisedFn?: (x: Tensor) => Tensor },
  ) => {
    const { predXstart } = diffusion.pMeanVariance(model, x, 5, options);
    return Math.max(...(await predXstart.data()).map(Math.abs));
  };
  assertEquals(await largest({}), 1);
  assert(await largest({ clipDenoised: false }) > 10);
  assert(await largest({ denoisedFn: (x0) => mul(x0, 1e-3) }) < 1);
});
