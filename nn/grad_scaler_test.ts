import { assert, assertEquals, assertThrows } from "@std/assert";
import { backward, mul, Parameter, sum } from "../autograd/mod.ts";
import { init, scope, type Tensor, tensor } from "../tensor/mod.ts";
import { eachDevice, scaledError } from "../tests/devices.ts";
import { AdamW } from "./adamw.ts";
import { GradScaler } from "./grad_scaler.ts";
import { StateDictError } from "./state.ts";

/** A step whose gradient by every weight is `slope`. */
function step(p: Parameter, optimizer: AdamW, scaler: GradScaler, slope: number): Tensor {
  optimizer.zeroGrad();
  backward(scaler.scale(sum(mul(p, slope))));
  return scaler.step(optimizer);
}

async function snapshot(state: Map<string, Tensor>): Promise<Record<string, number[]>> {
  const out: Record<string, number[]> = {};
  for (const [name, t] of state) out[name] = Array.from(await t.data());
  return out;
}

eachDevice("GradScaler doubles its scale after good steps in a row", async () => {
  using _ = scope();
  const p = new Parameter(tensor([1, 2]));
  using optimizer = new AdamW([p]);
  using scaler = new GradScaler({ initialScale: 8, growthInterval: 3 });
  const seen: unknown[] = [];
  for (let i = 0; i < 4; i++) {
    step(p, optimizer, scaler, 1);
    seen.push(await scaler.state());
  }
  assertEquals(seen, [
    { scale: 8, streak: 1, skipped: 0 },
    { scale: 8, streak: 2, skipped: 0 },
    { scale: 16, streak: 0, skipped: 0 },
    { scale: 16, streak: 1, skipped: 0 },
  ]);
});

for (const bad of [Infinity, NaN]) {
  eachDevice(
    `GradScaler skips a step with ${bad} in the gradients and halves its scale`,
    async () => {
      using _ = scope();
      const p = new Parameter(tensor([1, 2]));
      using optimizer = new AdamW([["p", p]], { weightDecay: 0.1 });
      using scaler = new GradScaler({ initialScale: 8, growthInterval: 3 });
      step(p, optimizer, scaler, 1);
      const weights = await p.data();
      const moments = await snapshot(optimizer.stateDict());
      optimizer.zeroGrad();
      backward(scaler.scale(sum(mul(p, tensor([1, bad])))));
      scaler.step(optimizer);
      assertEquals(await p.data(), weights);
      assertEquals(await snapshot(optimizer.stateDict()), moments);
      assertEquals(await scaler.state(), { scale: 4, streak: 0, skipped: 1 });
      step(p, optimizer, scaler, 1);
      assertEquals((await snapshot(optimizer.stateDict()))["step"], [2]);
    },
  );
}

eachDevice("GradScaler steps as without scaling, and gives the unscaled norm", async () => {
  using _ = scope();
  const run = async (scaler: GradScaler, maxNorm?: number) => {
    const p = new Parameter(tensor([1, 2, 3]));
    using optimizer = new AdamW([p], { lr: 0.1 });
    let norm = 0;
    for (let i = 0; i < 3; i++) {
      optimizer.zeroGrad();
      backward(scaler.scale(sum(mul(p, mul(p, p)))));
      norm = await scaler.step(optimizer, maxNorm === undefined ? {} : { maxNorm }).item();
    }
    scaler.dispose();
    return [...await p.data(), norm];
  };
  for (const maxNorm of [undefined, 1]) {
    const plain = await run(new GradScaler({ enabled: false }), maxNorm);
    const scaled = await run(new GradScaler({ initialScale: 1024 }), maxNorm);
    assert(scaledError(scaled, plain) < 1e-6);
  }
});

eachDevice("GradScaler that is not enabled leaves loss and scale alone", async () => {
  using _ = scope();
  const p = new Parameter(tensor([1]));
  using optimizer = new AdamW([p]);
  using scaler = new GradScaler({ enabled: false });
  const loss = sum(p);
  assertEquals(scaler.scale(loss), loss);
  backward(scaler.scale(loss));
  scaler.step(optimizer);
  assertEquals(await scaler.state(), { scale: 1, streak: 0, skipped: 0 });
});

eachDevice("GradScaler stops growing before its scale is infinite", async () => {
  using _ = scope();
  const p = new Parameter(tensor([1]));
  using optimizer = new AdamW([p]);
  using scaler = new GradScaler({ initialScale: 2 ** 125, growthInterval: 1 });
  for (let i = 0; i < 4; i++) step(p, optimizer, scaler, 2 ** -120);
  assertEquals((await scaler.state()).scale, 2 ** 126);
});

eachDevice(
  "GradScaler stops halving before its scale is 0, which it would never leave",
  async () => {
    using _ = scope();
    const p = new Parameter(tensor([1]));
    using optimizer = new AdamW([p]);
    for (const [initialScale, least] of [[2 ** -23, 2 ** -24], [2 ** -30, 2 ** -30]] as const) {
      using scaler = new GradScaler({ initialScale, growthInterval: 1 });
      for (let i = 0; i < 3; i++) step(p, optimizer, scaler, NaN);
      assertEquals((await scaler.state()).scale, least);
      step(p, optimizer, scaler, 1);
      assertEquals((await scaler.state()).scale, 2 * least);
    }
    using scaler = new GradScaler();
    scaler.loadStateDict(new Map([...scaler.stateDict(), ["scale", tensor([0], [])]])); // of before
    step(p, optimizer, scaler, 1);
    assertEquals((await scaler.state()).scale, 2 ** -24);
  },
);

eachDevice("GradScaler continues from its state", async () => {
  using _ = scope();
  const p = new Parameter(tensor([1]));
  using optimizer = new AdamW([p]);
  using first = new GradScaler({ initialScale: 8, growthInterval: 2 });
  step(p, optimizer, first, 1);
  step(p, optimizer, first, NaN);
  step(p, optimizer, first, 1);
  using second = new GradScaler({ growthInterval: 2 });
  second.loadStateDict(first.stateDict());
  assertEquals(await second.state(), { scale: 4, streak: 1, skipped: 1 });
  step(p, optimizer, second, 1);
  assertEquals(await second.state(), { scale: 8, streak: 0, skipped: 1 });
});

Deno.test("GradScaler says what is wrong with its arguments", async () => {
  await init({ device: "wasm" });
  using _ = scope();
  assertThrows(() => new GradScaler({ initialScale: 0 }), RangeError, "expected a scale above 0");
  const wrong = [
    { growthFactor: 1 },
    { backoffFactor: 1 },
    { backoffFactor: 0 },
    {
      growthInterval: 0,
    },
    { initialScale: Infinity },
    { growthInterval: 1.5 },
  ];
  for (const options of wrong) {
    assertThrows(() => new GradScaler(options), RangeError, "GradScaler: expected");
  }
  using scaler = new GradScaler();
  assertThrows(() => scaler.loadStateDict(new Map()), StateDictError, "streak");
});

eachDevice(
  "GradScaler clips by the true norm where squares of scaled gradients overflow",
  async () => {
    using _ = scope();
    const p = new Parameter(tensor([1, 2]));
    using optimizer = new AdamW([p], { lr: 0.1, betas: [0, 0], eps: 1 });
    using scaler = new GradScaler({ initialScale: 2 ** 100 });
    backward(scaler.scale(sum(mul(p, tensor([3, 4])))));
    const norm = await scaler.step(optimizer, { maxNorm: 1 }).item();
    assert(Math.abs(norm - 5) < 1e-5, `got ${norm}`);
    const want = [1 - 0.1 * 0.6 / 1.6, 2 - 0.1 * 0.8 / 1.8];
    assert(scaledError(await p.data(), want) < 1e-6);
  },
);
