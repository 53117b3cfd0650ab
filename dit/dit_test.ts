import { assert, assertEquals, assertThrows } from "@std/assert";
import { expect } from "@std/expect";
import { autocast, backward, gradcheck, mean, noGrad, slice, square } from "../autograd/mod.ts";
import { type Mlp, withoutInit } from "../nn/mod.ts";
import {
  DTypeError,
  Generator,
  IndexError,
  memory,
  randn,
  resetPeak,
  scope,
  ShapeError,
  type Tensor,
  tensor,
} from "../tensor/mod.ts";
import { eachDevice, scaledError } from "../tests/devices.ts";
import { createDiT, DiT, DIT_CONFIGS, type DiTOptions, isDiTName } from "./mod.ts";
import { randomModel } from "./random_model_test_util.ts";

const TINY: DiTOptions = {
  inputSize: 4,
  patchSize: 2,
  inChannels: 2,
  hiddenSize: 8,
  depth: 2,
  numHeads: 2,
  numClasses: 3,
};

const integers = (...values: number[]): Tensor => tensor(values, undefined, { dtype: "i32" });

/** Noisy latents, timesteps and labels of a batch of two. */
function batch(model: DiT): [Tensor, Tensor, Tensor] {
  const { inChannels: c, inputSize: s } = model.options;
  const x = randn([2, c, s, s], { generator: new Generator(2) });
  return [x, tensor([3.5, 700]), integers(1, 3)];
}

eachDevice("DiT has right gradients, recomputing its blocks or not", async () => {
  using model = randomModel(TINY);
  using s = scope();
  const [x, t, y] = batch(model);
  const trained = model.parameters().filter((p) => p.requiresGrad);
  for (const checkpointing of [false, true]) {
    model.gradientCheckpointing = checkpointing;
    const check = (x: Tensor) => model.eval().forward(x, t, y);
    const options = { samples: 3, tolerance: 2e-3, absolute: 1e-5 };
    await gradcheck(check, [x, ...trained], options);
  }
  s[Symbol.dispose]();
}, ["wasm"]);

eachDevice("gradient checkpointing changes no bit of the loss or a gradient", async () => {
  // 64 tokens: sums over them are of several parts
  using model = randomModel({ ...TINY, inputSize: 16 });
  const runs: ArrayLike<number>[][] = [];
  for (const checkpointing of [false, true]) {
    model.gradientCheckpointing = checkpointing;
    model.zeroGrad();
    const s = scope();
    const [x, t, y] = batch(model);
    const uniforms = tensor([0.5, 0.05]); // the second label is dropped
    const loss = mean(square(model.train().forward(x, t, y, { uniforms })));
    backward(loss);
    const grads = model.parameters().flatMap((p) => p.grad ? [p.grad.data()] : []);
    runs.push(await Promise.all([loss.data(), ...grads]));
    s[Symbol.dispose]();
  }
  assertEquals(runs[0]!.length, model.parameters().length);
  assertEquals(runs[1], runs[0]);
});

eachDevice("DiT holds the tensors of one block at a time when used", () => {
  const peaks = [2, 8].map((depth) => {
    using model = randomModel({ ...TINY, depth });
    using s = scope();
    const [x, t, y] = batch(model);
    const before = memory();
    resetPeak();
    noGrad(() => model.eval().forward(x, t, y).dispose());
    assertEquals(memory().tensors, before.tensors);
    const peak = memory().peakBytes - before.liveBytes;
    s[Symbol.dispose]();
    return peak;
  });
  assertEquals(peaks[1], peaks[0]);
}, ["wasm"]);

eachDevice("checkpointed training holds much less than plain training", () => {
  const peaks = [false, true].map((checkpointing) => {
    using model = randomModel({ ...TINY, depth: 8, inputSize: 16 });
    model.gradientCheckpointing = checkpointing;
    using s = scope();
    const [x, t, y] = batch(model);
    resetPeak();
    const before = memory().liveBytes;
    backward(mean(square(model.forward(x, t, y))));
    const peak = memory().peakBytes - before;
    s[Symbol.dispose]();
    return peak;
  });
  expect(peaks[1]!).toBeLessThan(peaks[0]! / 2);
}, ["wasm"]);

eachDevice("weights stored as f16 give nearly the same output in half the memory", async () => {
  const options = { ...TINY, inputSize: 8, hiddenSize: 32, inChannels: 4 };
  using model = randomModel(options);
  const bytes = memory().liveBytes;
  using halves = withoutInit(() => new DiT(options), { dtype: "f16" });
  expect(memory().liveBytes - bytes).toBeLessThan(0.51 * 4 * model.parameterCount());
  halves.loadStateDict(model.stateDict());
  const s = scope();
  const [x, t, y] = batch(model);
  const outs = noGrad(() => [
    model.eval().forward(x, t, y),
    halves.eval().forward(x, t, y),
    autocast("f16", () => model.forward(x, t, y)),
    autocast("f16", () => halves.forward(x, t, y)),
  ]);
  assertEquals(outs.map((o) => o.dtype), ["f32", "f32", "f16", "f16"]);
  const [want, ...got] = await Promise.all(outs.map((o) => o.data()));
  s[Symbol.dispose]();
  for (const half of got) {
    expect(scaledError(half, want!)).toBeGreaterThan(0);
    expect(scaledError(half, want!)).toBeLessThan(5e-3);
  }
});

eachDevice("DiT trains in mixed precision with gradients of f32", async () => {
  using model = randomModel(TINY).eval(); // drops no label in one precision alone
  const grads = [null, "f16" as const].map((precision) => {
    using s = scope();
    model.zeroGrad();
    const [x, t, y] = batch(model);
    backward(autocast(precision, () => mean(square(model.forward(x, t, y)))));
    assertEquals(model.finalLayer.linear.weight.grad!.dtype, "f32");
    const read = (model.blocks[0]!.mlp as Mlp).fc1.weight.grad!.data();
    s[Symbol.dispose]();
    return read;
  });
  const [want, got] = await Promise.all(grads);
  expect(scaledError(got!, want!)).toBeLessThan(2e-2);
});

eachDevice("forwardWithCfg() guides three channels, or all of the noise", async () => {
  using model = randomModel({ ...TINY, inChannels: 4 }).eval();
  const s = scope();
  const x = randn([4, 4, 4, 4], { generator: new Generator(3) });
  const [t, y] = [integers(9, 9, 9, 9), integers(0, 2, 3, 3)];
  const reads = noGrad(() => [
    model.forwardWithCfg(x, t, y, 1),
    model.forwardWithCfg(x, t, y, 3),
    model.forwardWithCfg(x, t, y, 3, { guidedChannels: "all" }),
  ]).map((out) => out.data());
  s[Symbol.dispose]();
  const [plain, three, all] = await Promise.all(reads);
  const channel = (data: ArrayLike<number>, sample: number, c: number) =>
    Array.from({ length: 16 }, (_, i) => data[(sample * 8 + c) * 16 + i]!);
  for (const sample of [0, 1]) {
    for (let c = 0; c < 8; c++) {
      const [a, b, d] = [plain!, three!, all!].map((data) => channel(data, sample, c));
      const [lower, upper] = [three!, all!].map((data) => channel(data, sample + 2, c));
      if (c < 3) assertEquals(b, d);
      if (c < 3) expect(a).not.toEqual(b);
      if (c === 3) expect(b).not.toEqual(d);
      if (c === 3 || c > 3) assertEquals(a, b);
      if (c > 3) assertEquals(b, d);
      if (c < 3) assertEquals(b, lower); // both halves are moved alike
      if (c < 4) assertEquals(d, upper);
    }
  }
});

eachDevice("labels are dropped from a generator while training, and never in use", async () => {
  using model = randomModel({ ...TINY, classDropoutProb: 0.5 });
  const s = scope();
  const y = integers(...Array.from({ length: 400 }, (_, i) => i % 3));
  const drop = () => model.yEmbedder.tokenDrop(y, { generator: new Generator(5) }).data();
  const [first, again] = await Promise.all([drop(), drop()]);
  const [x, t] = [randn([2, 2, 4, 4]), integers(1, 2)];
  const some = integers(0, 1);
  const uniforms = tensor([0.1, 0.1]); // both would be dropped
  const reads = noGrad(() => [
    model.eval().forward(x, t, some, { uniforms }),
    model.train().forward(x, t, some, { uniforms }),
    model.eval().forward(x, t, integers(3, 3)),
  ]).map((out) => out.data());
  s[Symbol.dispose]();
  assertEquals(first, again);
  const count = first.filter((label) => label === 3).length;
  assert(count > 150 && count < 250, `${count} of 400 dropped`);
  const [used, dropped, none] = await Promise.all(reads);
  assertEquals(dropped, none);
  expect(used).not.toEqual(none);
});

eachDevice(
  "a mixture of classes embeds as the mean of their rows, and one class as itself",
  async () => {
    using model = randomModel(TINY);
    using s = scope();
    const [x, t] = batch(model);
    const mixed = tensor([0, 1, 0, 0, 0.25, 0, 0, 0.75], [2, 4]);
    const table = await model.yEmbedder.embeddingTable.weight.data();
    const hidden = model.options.hiddenSize;
    const row = (label: number) => Array.from(table.slice(label * hidden, (label + 1) * hidden));
    const embedded = await model.eval().yEmbedder.forward(mixed).data();
    assertEquals(Array.from(embedded.slice(0, hidden)), row(1));
    const want = row(0).map((v, i) => 0.25 * v + 0.75 * row(3)[i]!);
    assert(scaledError(embedded.slice(hidden), want) < 1e-6);
    const first = (y: Tensor) => noGrad(() => slice(model.eval().forward(x, t, y), 0, { end: 1 }));
    assertEquals(await first(mixed).data(), await first(integers(1, 3)).data());
    const uniforms = tensor([0.9, 0.05]); // the second one is dropped
    const dropped = await model.yEmbedder.train().forward(mixed, { uniforms }).data();
    assertEquals(Array.from(dropped), [...row(1), ...row(3)]);
    s[Symbol.dispose]();
  },
);

eachDevice("DiT refuses what does not fit, before any work", () => {
  using model = new DiT(TINY);
  using certain = new DiT({ ...TINY, classDropoutProb: 0, learnSigma: false });
  assertEquals([model.nullClass, certain.nullClass], [3, null]);
  assertEquals([model.outChannels, certain.outChannels], [4, 2]);
  using s = scope();
  const [x, t, y] = batch(model);
  const before = memory();
  const refused = (
    kind: new (message: string) => Error,
    text: string,
    ...[x2 = x, t2 = t, y2 = y]: [Tensor?, Tensor?, Tensor?]
  ) => assertThrows(() => model.forward(x2, t2, y2), kind, text);
  const odd = [randn([2, 3, 4, 4]), randn([2, 2, 8, 8]), randn([2, 4, 4])];
  for (const x of odd) refused(ShapeError, "expected latents [N, 2, 4, 4] but got [2,", x);
  refused(ShapeError, "expected timesteps [2], one a sample, but got [1]", x, tensor([1]));
  refused(ShapeError, "expected labels [2], one a sample, but got [3]", x, t, integers(0, 1, 2));
  refused(IndexError, "expected timesteps of 0 or more but got -1", x, integers(-1, 5));
  refused(IndexError, "from 0 to 3 (3 classes, and the last one for none)", x, t, integers(0, 4));
  refused(DTypeError, "labels of i32 or u32 but got f32 and f32", x, t, tensor([0, 1]));
  refused(ShapeError, "weights of classes [2, 4] but got [2, 3]", x, t, randn([2, 3]));
  const whole = tensor(new Array(8).fill(0), [2, 4], { dtype: "i32" });
  refused(DTypeError, "weights of classes of f32 or f16 but got f32 and i32", x, t, whole);
  const call = model.forward.bind(model) as (...inputs: unknown[]) => Tensor;
  assertThrows(() => call(x, t), TypeError, "DiT: expected a tensor of labels but got undefined: ");
  assertThrows(() => call(x, 5, y), TypeError, "DiT: expected a tensor of timesteps but got 5");
  assertThrows(
    () => certain.forward(x, t, integers(0, 3)),
    IndexError,
    "labels from 0 to 2 (3 classes, without a null class)",
  );
  assertThrows(
    () => model.forwardWithCfg(randn([3, 2, 4, 4]), t, y, 4),
    ShapeError,
    "even batch",
  );
  assertEquals(memory().storages - before.storages, 12); // the operands above, nothing else
  s[Symbol.dispose]();
}, ["wasm"]);

eachDevice("DiT refuses options that do not fit each other", () => {
  const refused = (options: DiTOptions, text: string) =>
    assertThrows(() => new DiT({ ...TINY, ...options }), Error, text);
  refused({ inputSize: 5 }, "a multiple of the patchSize but got 5 and 2");
  refused({ hiddenSize: 12, numHeads: 5 }, "of numHeads but got 12 and 5");
  refused({ hiddenSize: 6 }, "a multiple of 4");
  refused({ depth: 0 }, "depth to be 1 or more but got 0");
  refused({ numClasses: 1.5 }, "numClasses to be 1 or more but got 1.5");
  refused({ mlpRatio: 0 }, "mlpRatio above 0");
  refused({ classDropoutProb: 1.1 }, "classDropoutProb in [0, 1]");
}, ["wasm"]);

eachDevice("createDiT() makes the named models and lists them otherwise", () => {
  assertEquals(Object.keys(DIT_CONFIGS).length, 12);
  assert(isDiTName("DiT-B/8") && !isDiTName("DiT-B/3") && !isDiTName("toString"));
  using model = withoutInit(() => createDiT("DiT-S/8", { inputSize: 16, numClasses: 10 }));
  const { depth, hiddenSize, numHeads, patchSize, inputSize, numClasses } = model.options;
  assertEquals([depth, hiddenSize, numHeads, patchSize], [12, 384, 6, 8]);
  assertEquals([inputSize, numClasses], [16, 10]);
  assertThrows(() => createDiT("DiT-M/2"), RangeError, "DiT-XL/2, DiT-XL/4");
}, ["wasm"]);

eachDevice("the same generator makes the same model", async () => {
  const [one, two] = [4, 4].map((seed) => new DiT(TINY, { generator: new Generator(seed) }));
  for (const [name, p] of one!.stateDict()) {
    assertEquals(await p.data(), await two!.stateDict().get(name)!.data(), name);
  }
  one!.dispose();
  two!.dispose();
}, ["wasm"]);
