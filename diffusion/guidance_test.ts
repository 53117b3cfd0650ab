import { assert, assertEquals, assertThrows } from "@std/assert";
import { add, concat, mul, neg, reshape, square, sub, sum } from "../autograd/mod.ts";
import { eachDevice, scaledError } from "../tests/devices.ts";
import { Generator, randn, scope, type Tensor, tensor } from "../tensor/mod.ts";
import {
  type ClassifierFreeOptions,
  classifierGuidance,
  createDiffusion,
  guided,
  type ModelFunction,
  sample,
} from "./mod.ts";

type Labelled = { y: Tensor };
const N = 3;
const SHAPE = [N, 4, 2, 2];
const column = (v: Tensor) => reshape(v, [-1, 1, 1, 1]);

/** x + y in the mean's channels and y in the variance's; notes the batches it is called with. */
function labelled(batches: number[] = []): ModelFunction<Labelled> {
  return (x, _t, { y }) => {
    batches.push(x.shape[0]!);
    return concat([add(x, column(y)), add(mul(x, 0), column(y))], 1);
  };
}

/** The guided output, by sample and channel, minus x in the mean's channels. */
async function output(
  options: Omit<ClassifierFreeOptions<Labelled>, "nullKwargs">,
  at?: number[],
  batches: number[] = [],
): Promise<number[][]> {
  using _ = scope();
  const x = randn(SHAPE, { generator: new Generator(1) });
  const y = tensor([1, 2, 3]);
  const t = tensor(at ?? [10, 20, 30], [N], { dtype: "i32" });
  const model = guided(labelled(batches), { ...options, nullKwargs: { y: mul(y, 0) } });
  const out = await sub(model(x, t, { y }, at), concat([x, mul(x, 0)], 1)).data();
  return [0, 1, 2].map((i) =>
    Array.from({ length: 8 }, (_, c) => Math.round(out[32 * i + 4 * c]! * 1e4) / 1e4)
  );
}

eachDevice(
  "guidance moves the first three channels away from the unconditional output",
  async () => {
    assertEquals(await output({ scale: 4 }), [
      [4, 4, 4, 1, 1, 1, 1, 1],
      [8, 8, 8, 2, 2, 2, 2, 2],
      [12, 12, 12, 3, 3, 3, 3, 3],
    ]);
  },
);

eachDevice("guidance of all channels leaves the variance alone", async () => {
  const [first] = await output({ scale: 4, guidedChannels: "all" });
  assertEquals(first, [4, 4, 4, 4, 1, 1, 1, 1]);
});

eachDevice("a guided model runs once outside of its interval and at scale 1", async () => {
  const batches: number[] = [];
  const plain = await output({ scale: 1 }, undefined, batches);
  const outside = await output({ scale: 4, interval: [100, 900] }, [50, 50, 50], batches);
  assertEquals(outside, plain);
  assertEquals(batches, [N, N]);
});

eachDevice("each sample is guided where its own timestep is in the interval", async () => {
  for (const at of [[99, 100, 901], undefined]) {
    const interval = at ? [100, 900] as const : [15.5, 25] as const; // at 10, 20, 30 on the device
    const out = await output({ scale: 4, interval }, at);
    assertEquals(out.map((channels) => channels[0]), [1, 8, 3]);
  }
});

eachDevice("sample() guides only the steps of the interval", async () => {
  const batches: number[] = [];
  const diffusion = createDiffusion();
  using y = tensor([1, 2, 3]);
  using none = tensor([0, 0, 0]);
  using _ = await sample(diffusion, labelled(batches), SHAPE, {
    sampler: "ddim",
    steps: 5, // 999, 749, 500, 250, 0
    modelKwargs: { y },
    guidance: { scale: 2, nullKwargs: { y: none }, interval: [200, 700] },
  });
  assertEquals(batches, [N, N, 2 * N, 2 * N, N]);
});

Deno.test("guidance that makes no sense is refused", () => {
  const refused = (options: Omit<ClassifierFreeOptions<Labelled>, "nullKwargs">, message: string) =>
    assertThrows(() => guided(labelled(), { ...options, nullKwargs: {} }), RangeError, message);
  refused({ scale: 2, interval: [700, 200] }, "its first timestep first but got 700, 200");
  refused({ scale: NaN }, "a finite number but got NaN");
  refused({ scale: 2, guidedChannels: 0 }, "1 or more guidedChannels");
});

eachDevice("inputs that cannot be joined are refused by name", () => {
  using _ = scope();
  const x = randn(SHAPE);
  const model = guided((x: Tensor, _t: Tensor, _kwargs: { size: number }) => x, {
    scale: 2,
    nullKwargs: { size: 3 },
  });
  const t = tensor([0, 0, 0], [N], { dtype: "i32" });
  assertThrows(() => model(x, t, { size: 4 }), TypeError, '"size"');
});

eachDevice("classifierGuidance() is the gradient of the log-probability", async () => {
  using _ = scope();
  const x = randn(SHAPE, { generator: new Generator(2) });
  const logProb = (x: Tensor) => mul(sum(square(x), [1, 2, 3]), -0.5);
  const gradient = classifierGuidance(logProb, 3)(x, tensor([0, 0, 0]), {});
  assert(scaledError(await gradient.data(), await mul(x, -3).data()) < 1e-6);
});

eachDevice("a classifier pulls samples to its class, in loops without gradients", async () => {
  using _ = scope();
  const diffusion = createDiffusion({ timestepRespacing: "20", learnSigma: false });
  const towards = (target: number) =>
    classifierGuidance((x: Tensor) => neg(sum(square(sub(x, target)), [1, 2, 3])), 0.2);
  const mean = async (target: number, loop: "pSampleLoop" | "ddimSampleLoop") => {
    const options = { condFn: towards(target), generator: new Generator(4) };
    const out = await diffusion[loop]((x) => x, SHAPE, options);
    return Array.from(await out.data()).reduce((a, b) => a + b) / 48;
  };
  for (const loop of ["pSampleLoop", "ddimSampleLoop"] as const) {
    assert(await mean(1, loop) > await mean(-1, loop) + 0.1, loop);
  }
});
