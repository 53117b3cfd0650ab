import { assert, assertEquals, assertThrows } from "@std/assert";
import { add, backward, linear, mul, Parameter, sum, transpose } from "../autograd/mod.ts";
import {
  DeviceError,
  DTypeError,
  init,
  memory,
  scope,
  setDevice,
  ShapeError,
  type Tensor,
  tensor,
  UseAfterFreeError,
} from "../tensor/mod.ts";
import { eachDevice, scaledError } from "../tests/devices.ts";
import { numbers } from "../tests/numbers.ts";
import { AdamW, type AdamWOptions } from "./adamw.ts";
import { StateDictError } from "./state.ts";

function random(length: number, seed: number): Float32Array<ArrayBuffer> {
  const next = numbers(seed);
  return Float32Array.from({ length }, () => 2 * next() - 1);
}

/** AdamW as the paper has it (arXiv 1711.05101), in float64. */
function reference(
  start: Float32Array,
  grads: Float32Array[],
  { lr = 1e-3, betas: [b1, b2] = [0.9, 0.999], eps = 1e-8, weightDecay = 0 }: AdamWOptions,
): Float64Array {
  const p = Float64Array.from(start);
  const [m, v] = [new Float64Array(p.length), new Float64Array(p.length)];
  for (const [k, g] of grads.entries()) {
    for (let i = 0; i < p.length; i++) {
      m[i] = b1 * m[i]! + (1 - b1) * g[i]!;
      v[i] = b2 * v[i]! + (1 - b2) * g[i]! ** 2;
      const [mHat, vHat] = [m[i]! / (1 - b1 ** (k + 1)), v[i]! / (1 - b2 ** (k + 1))];
      p[i] = p[i]! * (1 - lr * weightDecay) - lr * mHat / (Math.sqrt(vHat) + eps);
    }
  }
  return p;
}

const settings: Record<string, AdamWOptions> = {
  "by default": {},
  "with decay and other betas": { lr: 3e-3, betas: [0.8, 0.95], eps: 1e-6, weightDecay: 0.1 },
  "with betas of 0": { lr: 1e-2, betas: [0, 0] },
};
for (const [name, options] of Object.entries(settings)) {
  eachDevice(`AdamW ${name} follows the formula for 20 steps`, async () => {
    using _ = scope();
    const start = random(77, 1);
    const grads = Array.from({ length: 20 }, (_, i) => random(77, 2 + i));
    const p = new Parameter(tensor(start, [7, 11]));
    using optimizer = new AdamW([p], options);
    for (const g of grads) {
      p.zeroGrad();
      backward(sum(mul(p, tensor(g, [7, 11]))));
      optimizer.step();
    }
    const error = scaledError(await p.data(), reference(start, grads, options));
    assert(error < 1e-6, `off by ${error}`);
  });
}

eachDevice("AdamW corrects the bias without losing digits after many steps", async () => {
  using _ = scope();
  const p = new Parameter(tensor([1, -1]));
  using optimizer = new AdamW([p], { lr: 1e-4 });
  // as if 10^6 steps of gradient 1 had been taken: both moments are 1
  using step = tensor([1e6], []);
  using moment = tensor([1, 1]);
  optimizer.loadStateDict(new Map([["step", step], ["0.expAvg", moment], ["0.expAvgSq", moment]]));
  backward(sum(p));
  optimizer.step();
  const [a] = await p.data();
  assert(Math.abs(a! - (1 - 1e-4)) < 1e-7);
});

eachDevice("AdamW takes a parameter without a gradient as one with gradient 0", async () => {
  using _ = scope();
  const [used, unused] = [new Parameter(tensor([1, 2])), new Parameter(tensor([3, 4, 5]))];
  using optimizer = new AdamW([used, unused], { lr: 0.1, weightDecay: 0.5 });
  for (let i = 0; i < 2; i++) {
    optimizer.zeroGrad();
    backward(sum(used));
    optimizer.step();
  }
  const zero = [new Float32Array(3), new Float32Array(3)];
  const want = reference(Float32Array.of(3, 4, 5), zero, { lr: 0.1, weightDecay: 0.5 });
  assert(scaledError(await unused.data(), want) < 1e-6);
});

eachDevice("AdamW leaves frozen parameters alone, and takes a new learning rate", async () => {
  using _ = scope();
  const frozen = new Parameter(tensor([1, 2]), { requiresGrad: false });
  const p = new Parameter(tensor([1]));
  using optimizer = new AdamW([["frozen", frozen], ["p", p]]);
  assertEquals(optimizer.parameters, [p]);
  optimizer.lr = 0.25;
  backward(sum(mul(p, sum(frozen))));
  optimizer.step();
  assert(Math.abs(await p.item() - 0.75) < 1e-6);
  assertEquals(Array.from(await frozen.data()), [1, 2]);
  assertEquals([...optimizer.stateDict().keys()], ["step", "p.expAvg", "p.expAvgSq"]);
});

eachDevice("AdamW continues from its state bit for bit", async () => {
  using _ = scope();
  const run = async (steps: number, from?: Awaited<ReturnType<typeof saved>>) => {
    const p = new Parameter(tensor(from?.p ?? random(5, 1)));
    using optimizer = new AdamW([["p", p]], { lr: 0.01 });
    if (from) optimizer.loadStateDict(from.state);
    for (let i = 0; i < steps; i++) {
      optimizer.zeroGrad();
      backward(sum(mul(p, mul(p, p))));
      optimizer.step();
    }
    return await saved(p, optimizer);
  };
  const saved = async (p: Parameter, optimizer: AdamW) => {
    const state = new Map<string, { shape: readonly number[]; data: Float32Array }>();
    for (const [name, t] of optimizer.stateDict()) {
      state.set(name, { shape: t.shape, data: await t.data() as Float32Array });
    }
    return { p: await p.data() as Float32Array<ArrayBuffer>, state };
  };
  const whole = await run(6);
  const parts = await run(4, await run(2));
  assertEquals(parts, whole);
});

Deno.test("AdamW lists everything that does not fit its state", async () => {
  await init({ device: "wasm" });
  using _ = scope();
  using optimizer = new AdamW([["a", new Parameter(tensor([1, 2]))]]);
  const given = new Map([
    ["a.expAvg", { shape: [3], data: [0, 0, 0] }],
    ["a.expAvgSq", { shape: [2], data: [0, 0] }],
    ["b.expAvg", { shape: [1], data: [0] }],
  ]);
  const error = assertThrows(() => optimizer.loadStateDict(given), StateDictError);
  for (const part of ["step: expected []", "a.expAvg: expected [2] but got [3]", "b.expAvg"]) {
    assert(error.message.includes(part), `${part} is not in ${error.message}`);
  }
});

Deno.test("AdamW says what is wrong with its arguments", async () => {
  const wasm = await init({ device: "wasm" });
  using _ = scope();
  const p = new Parameter(tensor([1, 2]));
  assertThrows(() => new AdamW([]), RangeError, "at least one trainable parameter");
  const plain = tensor([1]) as Parameter; // as JavaScript can give it
  const message = "AdamW: expected a Parameter as w but got an object of class Tensor";
  assertThrows(() => new AdamW([p, ["w", plain]]), TypeError, message);
  for (const options of [{ lr: NaN }, { lr: -1 }, { eps: -1 }, { weightDecay: NaN }]) {
    const [name] = Object.keys(options);
    assertThrows(() => new AdamW([p], options), RangeError, `AdamW: expected ${name} in`);
  }
  assertThrows(() => new AdamW([p], { betas: [0.9, 1] }), RangeError, "AdamW: expected betas in");
  const half = new Parameter(tensor([1], [1], { dtype: "f16" }));
  assertThrows(
    () => new AdamW([half]),
    DTypeError,
    "expected f32 parameters (masters) but got f16",
  );
  const transposed = new Parameter(transpose(tensor([1, 2, 3, 4], [2, 2])));
  assertThrows(
    () => new AdamW([transposed]),
    ShapeError,
    "AdamW: expected parameters whose elements",
  );
  await init({ device: "reference" });
  using far = new Parameter(tensor([1]));
  assertThrows(() => new AdamW([p, far]), DeviceError, "on one device but got wasm and reference");
  setDevice(wasm);
  const q = new Parameter(tensor([1]));
  using whole = new AdamW([p, q]);
  assertEquals(whole.parameters.length, 2);
  assertThrows(() => new AdamW([q]), RangeError, "gathered together before");
});

eachDevice("AdamW frees what it and its parameters hold", (device) => {
  const before = memory(device);
  {
    using _ = scope();
    const p = new Parameter(tensor(random(100, 1)));
    using optimizer = new AdamW([p]);
    backward(sum(p));
    optimizer.step();
  }
  const { liveBytes, tensors, storages } = memory(device);
  assertEquals({ liveBytes, tensors, storages }, {
    liveBytes: before.liveBytes,
    tensors: before.tensors,
    storages: before.storages,
  });
});

Deno.test("AdamW of a model that is gone names the use after free", async () => {
  await init({ device: "wasm" });
  let optimizer: AdamW;
  {
    using _ = scope();
    optimizer = new AdamW([new Parameter(tensor([1, 2]))]);
  }
  assertThrows(() => optimizer.step(), UseAfterFreeError, "AdamW: ");
  optimizer.dispose();
});

eachDevice("AdamW with a factor a parameter is AdamW of that rate for each", async () => {
  using _ = scope();
  const steps = async (lr: number, options: { lrScale?: (name: string) => number }) => {
    const named = ["a", "b"].map((name, i) =>
      [name, new Parameter(tensor(random(70, i + 1)))] as const
    );
    using optimizer = new AdamW(named, { lr, weightDecay: 0.1, ...options });
    for (let i = 0; i < 3; i++) {
      for (const [, p] of named) backward(sum(mul(p, p)));
      optimizer.step();
      optimizer.zeroGrad();
    }
    assertEquals([...optimizer.stateDict().keys()].length, 5);
    return await Promise.all(named.map(([, p]) => p.data()));
  };
  const [usual, slow] = [await steps(1e-2, {}), await steps(5e-3, {})];
  const mixed = await steps(1e-2, { lrScale: (name) => name === "b" ? 0.5 : 1 });
  assertEquals(mixed[0], usual[0]);
  assert(scaledError(mixed[1]!, slow[1]!) < 1e-6);
  assert(scaledError(mixed[1]!, usual[1]!) > 1e-4);
  assertThrows(
    () => new AdamW([new Parameter(tensor([1]))], { lrScale: () => -1 }),
    RangeError,
    "lrScale",
  );
});

eachDevice("gradients that are written in place add up over uses and over backwards", async () => {
  using w = new Parameter(tensor([1, 2, 3, 4], [2, 2]));
  using b = new Parameter(tensor([1, 1]));
  const [x, y] = [tensor([1, 2], [1, 2]), tensor([3, 5], [1, 2])];
  using optimizer = new AdamW([w, b]); // whose buffer takes the gradients
  const grads = async () => [...await w.grad!.data(), ...await b.grad!.data()];
  const pass = (...inputs: Tensor[]) => {
    using _ = scope();
    backward(sum(inputs.map((input) => linear(input, w, b)).reduce((a, b) => add(a, b))));
  };
  pass(x);
  assertEquals(await grads(), [1, 2, 1, 2, 1, 1]);
  pass(y); // on top
  assertEquals(await grads(), [4, 7, 4, 7, 2, 2]);
  optimizer.zeroGrad();
  pass(x, y, y); // three uses in one graph
  assertEquals(await grads(), [7, 12, 7, 12, 3, 3]);
  optimizer.zeroGrad();
  {
    using _ = scope();
    backward(sum(linear(x, w, b))); // what was there before is over
  }
  assertEquals(await grads(), [1, 2, 1, 2, 1, 1]);
  [x, y].forEach((t) => t.dispose());
});
