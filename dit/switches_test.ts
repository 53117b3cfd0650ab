/** Models that are other ones than the paper's. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { autocast, backward, gradcheck, mean, noGrad, square, sum } from "../autograd/mod.ts";
import { Attention, SwiGlu, withoutInit } from "../nn/mod.ts";
import {
  Generator,
  init,
  memory,
  randn,
  scope,
  ShapeError,
  type Tensor,
  tensor,
} from "../tensor/mod.ts";
import { eachDevice, scaledError } from "../tests/devices.ts";
import { DiT, type DiTSwitches, rotaryAngles, switchesOf } from "./mod.ts";
import { randomModel } from "./random_model_test_util.ts";

const TINY = {
  inputSize: 4,
  patchSize: 2,
  inChannels: 2,
  hiddenSize: 8,
  depth: 2,
  numHeads: 2,
  numClasses: 3,
} as const;

/** Each switch alone, and together as LightningDiT has them. */
const SWITCHES: readonly DiTSwitches[] = [
  { norm: "rmsNorm" },
  { mlp: "swiglu" },
  { rope: true },
  { qkNorm: true },
  { conditioning: "adaLN" },
  { bottleneck: 3 },
  { conditioning: "inContext", rope: true },
  { conditioning: "crossAttention", norm: "rmsNorm" },
  { norm: "rmsNorm", mlp: "swiglu", rope: true, qkNorm: true },
];

/** A model with these switches, whose weights are all random. */
const random = (switches: DiTSwitches): DiT => randomModel({ ...TINY, ...switches });

/** Noisy latents, timesteps and labels of a batch of two. */
function batch(): [Tensor, Tensor, Tensor] {
  const x = randn([2, 2, 4, 4], { generator: new Generator(2) });
  return [x, tensor([3.5, 700]), tensor([1, 3], undefined, { dtype: "i32" })];
}

for (const switches of SWITCHES) {
  const name = switchesOf(switches).join(", ");

  eachDevice(`gradients reach every weight and are right: ${name}`, async () => {
    using model = random(switches).eval();
    using _ = scope();
    const [x, t, y] = batch();
    await gradcheck((x) => model.forward(x!, t, y), [x]);
    backward(mean(square(model.forward(x, t, y))));
    for (const [key, { grad, requiresGrad }] of model.namedParameters()) {
      if (!requiresGrad) continue;
      assert(grad !== null, key);
      const isNull = (await grad.data()).every((g) => g === 0);
      assert(!isNull, `${key} has no gradient`);
    }
  }, ["wasm", "reference"]);

  eachDevice(
    `checkpointed gradients have the same bits, halves are near: ${name}`,
    async (device) => {
      using model = random(switches).eval();
      const before = memory(device).tensors;
      const [whole, again, half] = await Promise.all(
        [[false, null], [true, null], [false, "f16"] as const].map(([checkpoint, precision]) => {
          using _ = scope();
          model.gradientCheckpointing = checkpoint as boolean;
          model.zeroGrad();
          const [x, t, y] = batch();
          const loss = () => mean(square(model.forward(x, t, y)));
          backward(autocast(precision as "f16" | null, loss));
          const grads = model.parameters().flatMap((p) => p.grad ? [p.grad.data()] : []);
          return Promise.all(grads);
        }),
      );
      assertEquals(again, whole);
      const flat = (all: typeof whole) => Float64Array.from(all!.flatMap((g) => [...g!]));
      assert(scaledError(flat(half!), flat(whole!)) < 3e-2);
      model.zeroGrad();
      assertEquals(memory(device).tensors, before, "a step leaves nothing behind");
    },
  );
}

eachDevice("models of every kind compute nearly the same by weights of f16", async () => {
  for (const switches of SWITCHES) {
    using model = random(switches).eval();
    using halves = withoutInit(() => new DiT(model.options), { dtype: "f16" }).eval();
    halves.loadStateDict(model.stateDict());
    using _ = scope();
    const [x, t, y] = batch();
    for (const precision of [null, "f16"] as const) {
      const [want, got] = noGrad(() =>
        autocast(precision, () => [model.forward(x, t, y), halves.forward(x, t, y)])
      );
      assertEquals(got!.dtype, want!.dtype);
      const error = scaledError(await got!.data(), await want!.data());
      assert(error < 5e-3, `${switchesOf(switches)}: ${error}`);
    }
  }
}, ["wasm"]);

Deno.test("a fresh model of every kind outputs 0, and blocks with gates are the identity", async () => {
  await init({ device: "wasm" });
  const [x, t, y] = batch();
  for (const switches of SWITCHES) {
    using model = new DiT({ ...TINY, ...switches }, { generator: new Generator(0) });
    const out = await noGrad(() => model.forward(x, t, y)).data();
    assert(out.every((v) => v === 0), switchesOf(switches).join());
  }
});

eachDevice(
  "an early head sees what the first blocks make, and the other one is not changed",
  async () => {
    using _ = scope();
    const [x, t, y] = batch();
    using model = random({ earlyHead: 1 }).eval();
    using alone = random({}).eval();
    const shared = new Map(
      [...model.stateDict()].filter(([name]) => !name.startsWith("early_layer")),
    );
    alone.loadStateDict(shared);
    const { out, early } = noGrad(() => model.forwardHeads(x, t, y));
    assertEquals(await out.data(), await noGrad(() => alone.forward(x, t, y)).data());
    assertEquals(await noGrad(() => model.forward(x, t, y)).data(), await out.data());
    // a model of that one block, with the early head as its last layer
    using short = withoutInit(() => new DiT({ ...TINY, depth: 1 }));
    short.loadStateDict(
      new Map([...model.stateDict()].flatMap(([name, value]) => {
        if (name.startsWith("final_layer") || name.startsWith("blocks.1")) return [];
        return [[name.replace("early_layer", "final_layer"), value] as const];
      })),
    );
    const want = await noGrad(() => short.eval().forward(x, t, y)).data();
    assert(scaledError(await early.data(), want) < 1e-6);
    assertThrows(
      () => alone.forwardHeads(x, t, y),
      RangeError,
      "expected a model with an earlyHead",
    );
    assertThrows(() => new DiT({ ...TINY, earlyHead: 2 }), RangeError, "after 1 to 1 of 2 blocks");
  },
  ["wasm"],
);

Deno.test("rotary angles make scores depend on how far apart tokens are", () => {
  const [width, side] = [8, 5];
  const angles = rotaryAngles(width, side);
  const [q, k] = [[1, 2, -1, 0.5, 3, 1, -2, 0.25], [0.5, -1, 2, 1, 1, -3, 0.75, 2]];
  const turned = (v: number[], token: number) =>
    v.map((value, i) => {
      const angle = angles[token * width + i]!;
      const other = v[i ^ 1]! * (i % 2 === 0 ? -1 : 1);
      return value * Math.cos(angle) + other * Math.sin(angle);
    });
  const score = (a: number, b: number) => {
    const [x, y] = [turned(q, a), turned(k, b)];
    return x.reduce((total, value, i) => total + value * y[i]!, 0);
  };
  const at = (row: number, column: number) => row * side + column;
  const near = (a: number, b: number) => assert(Math.abs(a - b) < 1e-9, `${a} and ${b}`);
  near(score(at(0, 0), at(1, 2)), score(at(3, 1), at(4, 3)));
  near(score(at(2, 4), at(2, 4)), score(at(0, 1), at(0, 1)));
  assert(Math.abs(score(at(0, 0), at(1, 2)) - score(at(0, 0), at(2, 1))) > 1e-3);
  assertEquals([...rotaryAngles(8, 1, 2)], new Array(24).fill(0));
  assertThrows(() => rotaryAngles(6, 2), ShapeError, "multiple of 4");
});

Deno.test("options that exclude each other are refused with both", async () => {
  await init({ device: "wasm" });
  assertThrows(
    () => new DiT({ ...TINY, rope: true, numHeads: 4 }),
    ShapeError,
    "expected heads of a multiple of 4 with rope but got a hiddenSize of 8 and 4 heads",
  );
  assertThrows(
    () => new DiT({ ...TINY, norm: "batchNorm" as "rmsNorm" }),
    RangeError,
    "expected norm layerNorm or rmsNorm but got batchNorm",
  );
  assertThrows(
    () => new DiT({ ...TINY, bottleneck: 1.5 }),
    ShapeError,
    "a bottleneck of 0 or more",
  );
  assertThrows(() => new Attention(6, 4, { qkNorm: "rmsNorm" }), ShapeError, "multiple of 4 heads");
  using gate = new SwiGlu(4, 3);
  assertEquals(gate.w12.weight.shape, [6, 4]);
  const total = sum(gate.forward(randn([2, 4], { generator: new Generator(1) })));
  assert(Number.isFinite(await total.item()));
});
