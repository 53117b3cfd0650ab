import { assert, assertAlmostEquals, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { autocast, backward, cast, sum } from "../autograd/mod.ts";
import { halfWeight } from "../autograd/half_weights.ts";
import { full, Generator, init, memory, scope, type Tensor, tensor } from "../tensor/mod.ts";
import { eachDevice, scaledError } from "../tests/devices.ts";
import { AdamW } from "./adamw.ts";
import { Ema, powerExponent } from "./ema.ts";
import { Linear } from "./layers.ts";
import { StateDictError } from "./state.ts";

async function values(state: Map<string, Tensor>): Promise<Record<string, number[]>> {
  const out: Record<string, number[]> = {};
  for (const [name, t] of state) out[name] = Array.from(await t.data());
  return out;
}

/** Changes the weights of `model` in a way that repeats. */
function train(model: Linear, optimizer: AdamW): void {
  optimizer.zeroGrad();
  backward(sum(model.forward(tensor([1, 2, 3], [1, 3]))));
  optimizer.step();
}

eachDevice("Ema with warm-up decays by min(decay, (1 + n) / (10 + n))", async () => {
  using _ = scope();
  const model = new Linear(3, 2);
  using optimizer = new AdamW(model.parameters(), { lr: 0.1 });
  using ema = new Ema(model, { decay: 0.3, warmup: true });
  let want = Array.from(await model.weight.data());
  for (let n = 0; n < 6; n++) {
    const decay = Math.min(0.3, (1 + n) / (10 + n));
    assertAlmostEquals(ema.decay, decay, 1e-12);
    train(model, optimizer);
    ema.update();
    const weights = await model.weight.data();
    want = want.map((v, i) => decay * v + (1 - decay) * weights[i]!);
  }
  assertEquals(ema.step, 6);
  assert(scaledError(await ema.stateDict().get("weight")!.data(), want) < 1e-6);
});

eachDevice("Ema counts frozen parameters too, by the model's names", async () => {
  using _ = scope();
  const model = new Linear(3, 2);
  model.bias!.requiresGrad = false;
  using ema = new Ema(model, { decay: 0.5 });
  assertEquals([...ema.stateDict().keys()], ["weight", "bias"]);
  assertEquals(await values(ema.stateDict()), await values(model.stateDict()));
  model.loadStateDict({
    weight: { shape: [2, 3], data: new Float32Array(6).fill(1) },
    bias: { shape: [2], data: [3, 4] },
  });
  const before = await ema.stateDict().get("bias")!.data();
  ema.update();
  const want = Array.from(before, (v, i) => (v + [3, 4][i]!) / 2);
  assert(scaledError(await ema.stateDict().get("bias")!.data(), want) < 1e-6);
});

eachDevice(
  "Ema.swapped() runs with the average and changes back, also after an error",
  async () => {
    using _ = scope();
    const model = new Linear(3, 2);
    using optimizer = new AdamW(model.parameters(), { lr: 0.1 });
    using ema = new Ema(model, { decay: 0.5 });
    train(model, optimizer);
    ema.update();
    const weights = await values(model.stateDict());
    const averages = await values(ema.stateDict());
    const seen = await ema.swapped(async () => {
      assertEquals(await values(ema.stateDict()), averages); // whichever way round they lie
      assertThrows(() => ema.update(), Error, "expected update() while the weights are in place");
      return await values(model.stateDict());
    });
    assertEquals(seen, averages);
    assertEquals(await values(model.stateDict()), weights);
    assertEquals(await values(ema.stateDict()), averages);
    await assertRejects(
      () =>
        ema.swapped(() => {
          throw new Error("sampling failed");
        }),
      Error,
      "sampling failed",
    );
    assertEquals(await values(model.stateDict()), weights);
  },
);

Deno.test("Ema.swapped() refuses to be nested, which would change the weights back", async () => {
  await init({ device: "wasm" });
  using _ = scope();
  const model = new Linear(3, 2);
  using ema = new Ema(model);
  await assertRejects(
    () => ema.swapped(() => ema.swapped(() => 1)),
    Error,
    "Ema: expected swapped() while the weights are in place",
  );
});

eachDevice("Ema takes averages from elsewhere", async () => {
  using _ = scope();
  const model = new Linear(3, 2);
  using ema = new Ema(model);
  const given = {
    weight: { shape: [2, 3], data: [1, 2, 3, 4, 5, 6] },
    bias: { shape: [2], data: [7, 8] },
  };
  ema.loadStateDict(new Map(Object.entries(given)));
  assertEquals(await values(ema.stateDict()), { weight: given.weight.data, bias: [7, 8] });
  const misshapen = new Map([["weight", { shape: [2, 2], data: [1, 2, 3, 4] }]]);
  const error = assertThrows(() => ema.loadStateDict(misshapen), StateDictError);
  assert(error.message.includes("weight: expected [2, 3] but got [2, 2]"));
  assert(error.message.includes("bias: expected [2] but it is missing"));
});

Deno.test("Ema refuses a decay outside [0, 1]", async () => {
  await init({ device: "wasm" });
  using _ = scope();
  const model = new Linear(3, 2);
  for (const decay of [-0.1, 1.1, NaN]) {
    assertThrows(() => new Ema(model, { decay }), RangeError, "Ema: expected a decay in [0, 1]");
  }
});

eachDevice("Ema frees its averages", (device) => {
  using _ = scope();
  const model = new Linear(3, 2);
  new Ema(model).dispose(); // gathers the weights, which stay gathered
  const { tensors, liveBytes } = memory(device);
  new Ema(model).dispose();
  assertEquals([memory(device).tensors, memory(device).liveBytes], [tensors, liveBytes]);
});

eachDevice("a power function average is the weighted mean that it is defined as", async () => {
  using _ = scope();
  const width = 0.15;
  const exponent = powerExponent(width);
  const spread = Math.sqrt(exponent + 1) / ((exponent + 2) * Math.sqrt(exponent + 3));
  assert(Math.abs(spread - width) < 1e-12);
  const model = new Linear(3, 2);
  using ema = new Ema(model, { power: width });
  const steps = 12;
  const seen: number[] = [];
  for (let t = 1; t <= steps; t++) {
    const value = Math.sin(t);
    seen.push(value);
    model.loadStateDict(
      new Map([["weight", full([2, 3], value)], ["bias", full([2], value)]]),
    );
    ema.update();
  }
  // weights t^g, up to what one step of them makes of a sum: products of 1 - 1 / t, to the g + 1
  let want = 0, left = 1;
  for (let t = steps; t >= 1; t--) {
    const decay = (1 - 1 / t) ** (exponent + 1);
    want += left * (1 - decay) * seen[t - 1]!;
    left *= decay;
  }
  assertEquals(left, 0, "nothing is left of the beginning");
  const got = await ema.stateDict().get("weight")!.data();
  assert(Math.abs(got[0]! - want) < 1e-6, `${got[0]} and ${want}`);
  for (const wrong of [0, -1, 0.3, NaN]) {
    assertThrows(() => powerExponent(wrong), RangeError, "a power above 0 and below");
  }
});

eachDevice("AdamW moves an average along with the weights, and their f16 copy", async () => {
  const found = [];
  for (const along of [false, true]) {
    using _ = scope();
    const model = new Linear(3, 2, { generator: new Generator(1) });
    model.bias!.requiresGrad = false; // in a buffer of its own
    using optimizer = new AdamW(model.parameters(), { lr: 0.1, weightDecay: 0.1 });
    using ema = new Ema(model, { decay: 0.3, warmup: true });
    for (let n = 0; n < 3; n++) {
      optimizer.zeroGrad();
      const x = tensor([1, 2, 3], [1, 3]);
      backward(sum(autocast(along ? "f16" : null, () => model.forward(x))));
      optimizer.zeroGrad();
      backward(sum(model.forward(x)));
      optimizer.step(along ? { ema } : {});
      if (!along) ema.update();
    }
    assertEquals(ema.step, 3);
    const half = halfWeight(model.weight);
    assertEquals(await half.data(), await cast(model.weight, "f16").data());
    found.push([await values(model.stateDict()), await values(ema.stateDict())]);
  }
  assertEquals(found[1], found[0]);
});
