import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  defaultGenerator,
  type Device,
  Generator,
  GradientError,
  memory,
  rand,
  randn,
  resetPeak,
  scope,
  type Tensor,
  tensor,
  withGenerator,
} from "../tensor/mod.ts";
import { eachDevice } from "../tests/devices.ts";
import { backward, gradients } from "./backward.ts";
import { checkpoint } from "./checkpoint.ts";
import { autocast, noGrad } from "./modes.ts";
import {
  add,
  dropout,
  layerNorm,
  linear,
  mean,
  mul,
  selfAttention,
  square,
  sum,
} from "./ops/mod.ts";
import { Parameter } from "./parameter.ts";
import { requiresGrad } from "./tape.ts";

type Segment = (...inputs: Tensor[]) => Tensor[];
type Wrap = (segment: Segment, ...inputs: Tensor[]) => Tensor[];

const plain: Wrap = (segment, ...inputs) => segment(...inputs);
const wrapped: Wrap = (segment, ...inputs) => checkpoint(segment, ...inputs);

/** A transformer block with dropout, its weights and its generator. */
class Model {
  readonly generator: Generator = new Generator(3);
  readonly x: Parameter;
  readonly weights: [Parameter, Parameter, Parameter, Parameter, Parameter];

  constructor() {
    const generator = new Generator(1);
    const weight = (...shape: number[]) => new Parameter(mul(randn(shape, { generator }), 0.3));
    this.x = weight(2, 5, 8);
    this.weights = [weight(24, 8), weight(8, 8), weight(16, 8), weight(16), weight(8, 16)];
  }

  block: Segment = (x) => {
    const [qkv, proj, w1, b1, w2] = this.weights;
    const mixed = linear(selfAttention(linear(layerNorm(x!), qkv), 2), proj);
    const y = add(x!, dropout(mixed, 0.3, { generator: this.generator }));
    const hidden = linear(layerNorm(y), w1, b1, { activation: "geluTanh" });
    return [add(y, dropout(linear(hidden, w2), 0.3, { generator: this.generator }))];
  };
}

/** Loss, gradients and where the generator ended of `run` on fresh weights. */
async function train(
  run: (model: Model) => Tensor[],
  precision: "f16" | null = null,
): Promise<unknown[]> {
  using _ = scope();
  const model = new Model();
  const loss = autocast(precision, () => mean(square(run(model).reduce((a, b) => add(a, b)))));
  backward(loss);
  const tensors = [loss, ...[model.x, ...model.weights].map((p) => p.grad!)];
  const data = await Promise.all(tensors.map((t) => t.data()));
  return [...data.map((a) => Array.from(a)), model.generator.offset];
}

const programs: Record<string, (wrap: Wrap) => (model: Model) => Tensor[]> = {
  "dropout inside": (wrap) => (model) => {
    return wrap(model.block, ...wrap(model.block, model.x));
  },
  "several outputs, one unused": (wrap) => (model) => {
    const [a, , c] = wrap((x) => {
      const [y] = model.block(x!);
      return [mul(y!, 2), square(y!), add(y!, x!)];
    }, model.x);
    return [a!, c!];
  },
  "segments within segments": (wrap) => (model) => {
    return wrap((x) => wrap(model.block, ...wrap(model.block, x!)), mul(model.x, 1));
  },
  "an input given back": (wrap) => (model) => {
    const [x, y] = wrap((x) => [x!, model.block(x!)[0]!], mul(model.x, 1));
    return [x!, y!];
  },
  "an input used outside as well": (wrap) => (model) => {
    const x = mul(model.x, 1);
    const [y] = wrap((x) => [add(model.block(x!)[0]!, square(x!))], x);
    return [add(square(y!), mul(x, x))];
  },
  "values of its own from outside": (wrap) => (model) => {
    const shared = square(model.x);
    const block: Segment = (x) => [add(model.block(x!)[0]!, mul(shared, x!))];
    return wrap(block, ...wrap(block, model.x));
  },
  "the same input twice": (wrap) => (model) => {
    return wrap((a, b) => [mul(model.block(a!)[0]!, b!)], model.x, model.x);
  },
};

for (const [name, program] of Object.entries(programs)) {
  for (const precision of [null, "f16"] as const) {
    const how = precision ? " in f16" : "";
    eachDevice(`checkpoint() gives the same bits: ${name}${how}`, async () => {
      const want = await train(program(plain), precision);
      assertEquals(await train(program(wrapped), precision), want);
    });
  }
}

eachDevice("checkpoint() needs less memory at its peak", (device) => {
  const peak = (wrap: Wrap) => {
    using _ = scope();
    const model = new Model();
    resetPeak(device);
    const start = memory(device).liveBytes;
    let x: Tensor = model.x;
    for (let i = 0; i < 8; i++) [x] = wrap(model.block, x) as [Tensor];
    const forward = memory(device).liveBytes - start;
    backward(mean(square(x)));
    return { forward, whole: memory(device).peakBytes - start };
  };
  const [all, some] = [peak(plain), peak(wrapped)];
  assert(some.forward * 4 < all.forward, `${some.forward} and ${all.forward} bytes kept`);
  assert(some.whole * 2 < all.whole, `${some.whole} and ${all.whole} bytes at the peak`);
});

eachDevice("checkpoint() keeps nothing where nothing is recorded", (device: Device) => {
  using _ = scope();
  const model = new Model();
  const count = (wrap: Wrap) => {
    const before = memory(device).tensors;
    const [y] = noGrad(() => wrap(model.block, model.x));
    assertEquals(requiresGrad(y!), false);
    return memory(device).tensors - before;
  };
  assertEquals(count(wrapped), count(plain));
});

eachDevice(
  "checkpoint() gives one tensor for one, and draws from the default generator",
  async () => {
    using _ = scope();
    const p = new Parameter(tensor([1, 2, 3]));
    const start = defaultGenerator().offset;
    const y = checkpoint((x) => dropout(x, 0.5, { generator: defaultGenerator() }), p);
    assertEquals(defaultGenerator().offset, start + 3);
    backward(mean(y));
    assertEquals(defaultGenerator().offset, start + 3);
    const [out, grad] = [await y.data(), await p.grad!.data()];
    // the gradient is 2/3 where the value was kept and 0 elsewhere: the same draw twice
    for (const [i, v] of out.entries()) assert(Math.abs(grad[i]! - v / (i + 1) / 3) < 1e-6);
  },
);

eachDevice("checkpoint() draws from the default generator that there was", async () => {
  using _ = scope();
  const p = new Parameter(tensor(new Array(16).fill(1)));
  const segment = (x: Tensor) => dropout(x, 0.5, { generator: defaultGenerator() });
  const y = withGenerator(new Generator(7), () => checkpoint(segment, p));
  const start = defaultGenerator().offset;
  backward(sum(y));
  assertEquals(await p.grad!.data(), await y.data());
  assertEquals(defaultGenerator().offset, start);
});

eachDevice("checkpoint() backward twice is refused", () => {
  using _ = scope();
  const p = new Parameter(tensor([1, 2, 3]));
  const loss = mean(checkpoint((x) => square(x), p));
  backward(loss);
  assertThrows(() => backward(loss), GradientError, "sum was already freed");
});

eachDevice("checkpoint() leaves what the segment gives back from outside as it was", async () => {
  using _ = scope();
  const [p, q] = [new Parameter(tensor([1, 2])), new Parameter(tensor([3, 4]))];
  const x = square(p);
  const [a, b] = checkpoint(() => [x, q]) as [Tensor, Tensor];
  backward(mean(add(mul(a, b), mul(x, q)))); // p^2 q, twice, halved
  assertEquals(Array.from(await p.grad!.data()), [6, 16]);
  assertEquals(Array.from(await q.grad!.data()), [1, 4]);
});

eachDevice("checkpoint() refuses a parameter that was changed before backward", () => {
  using _ = scope();
  const p = new Parameter(tensor([1, 2, 3]));
  const loss = mean(checkpoint((x) => mul(x, p), tensor([1, 1, 1])));
  p.storage.version++; // as an optimiser's step does
  assertThrows(
    () => backward(loss),
    GradientError,
    "of shape [3] that checkpoint needs was changed",
  );
});

eachDevice("gradients() reaches parameters inside a checkpointed segment", async () => {
  using _ = scope();
  const w = new Parameter(tensor([2, 3]));
  const v = new Parameter(tensor([5, 7]));
  const segment = (x: Tensor) => mul(mul(x, w), mul(w, v)); // x w^2 v
  const x = tensor([1, 10]);
  const twice = sum(mul(checkpoint(segment, checkpoint(segment, x)), w)); // x w^5 v^2
  const [byW] = gradients(twice, [w]);
  assertEquals(Array.from(await byW!.data()), [5 * 16 * 25, 10 * 5 * 81 * 49]);
  assertEquals([w.grad, v.grad], [null, null]);
});

eachDevice("a weight of several segments has its gradient after the last of them", async () => {
  using _ = scope();
  using shared = new Parameter(tensor([2, 3]));
  using own = new Parameter(tensor([4, 5]));
  const complete: Parameter[] = [];
  const once = (x: Tensor) => checkpoint((x) => mul(x!, shared), x);
  const x = once(once(mul(tensor([1, 1]), own)));
  backward(sum(checkpoint((x) => mul(once(x!), own), x)), undefined, {
    onGradient: (p) => {
      complete.push(p);
      const grads = [shared, own].map((p) => p.grad !== null);
      assertEquals(grads, [true, true]);
    },
  });
  assertEquals(complete, [shared, own]);
  assertEquals(await shared.grad!.data(), Float32Array.of(3 * 4 * 16, 3 * 9 * 25));
  assertEquals(await own.grad!.data(), Float32Array.of(8 * 2 * 4, 27 * 2 * 5));
});

eachDevice(
  "a weight that a segment is given is halved again when that is computed again",
  async () => {
    using _ = scope();
    const generator = new Generator(3);
    const weight = new Parameter(rand([8, 8], { generator }));
    const frozen = new Parameter(rand([8, 8], { generator }), { requiresGrad: false });
    const x = rand([3, 8], { generator });
    const segment = (x: Tensor, a: Tensor, b: Tensor) => linear(linear(square(linear(x, a)), b), a);
    const found: ArrayLike<number>[] = [];
    for (const isApart of [false, true]) {
      const y = autocast("f16", () => {
        return isApart ? checkpoint(segment, x, weight, frozen) : segment(x, weight, frozen);
      });
      backward(sum(y));
      found.push(await weight.grad!.data());
      weight.zeroGrad();
    }
    assertEquals(found[1], found[0]);
  },
);
