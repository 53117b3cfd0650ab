import { assert, assertEquals, assertThrows } from "@std/assert";
import { AdamW, Conv2d, Ema, Embedding, Linear } from "../nn/mod.ts";
import {
  type Device,
  full,
  Generator,
  IndexError,
  rand,
  scope,
  type Tensor,
  tensor,
} from "../tensor/mod.ts";
import { eachDevice } from "../tests/devices.ts";
import {
  add,
  autocast,
  backward,
  Captured,
  gradients,
  linear,
  mul,
  noGrad,
  type Parameter,
  reshape,
  square,
  sum,
} from "./mod.ts";

/** Launches of a device that were replayed; 0 of one that records nothing. */
function replayed({ backend }: Device): number {
  return backend.recorder?.launches.replayed ?? 0;
}

/** What a scenario computes with, and where it writes down what comes of it. */
interface Stage {
  /** `[N, 8]` to `[N, 4]`, captured or not. */
  readonly call: (x: Tensor) => Tensor;
  /** `[n, 8]`, others each time. */
  readonly draw: (n?: number) => Tensor;
  readonly layer: Linear;
  readonly optimizer: AdamW;
  readonly captured: Captured;
  /** Takes elements now, as they are. */
  readonly note: (t: Tensor) => void;
  /** Whether launches since the last time were replayed. */
  readonly isReplayed: () => boolean;
}

/** Registers a test that a scenario has the same bits with a captured function. */
function sameTest(name: string, scenario: (stage: Stage, isCaptured: boolean) => void): void {
  eachDevice(name, async (device) => {
    const outcomes: ArrayLike<number>[][] = [];
    for (const isCaptured of [false, true]) {
      const generator = new Generator(1);
      using layer = new Linear(8, 4, { generator });
      using optimizer = new AdamW(layer.parameters());
      const fn = ([x]: readonly Tensor[]) => [layer.forward(x!)];
      using captured = new Captured(fn, { parameters: () => layer.parameters() });
      const noted: Promise<ArrayLike<number>>[] = [];
      let before = replayed(device);
      {
        using _ = scope();
        scenario({
          call: (x) => (isCaptured ? captured.call([x]) : fn([x]))[0]!,
          draw: (n = 3) => rand([n, 8], { generator }),
          layer,
          optimizer,
          captured,
          note: (t) => void noted.push(t.data()),
          isReplayed: () => {
            const now = replayed(device);
            const is = now > before;
            before = now;
            return is;
          },
        }, isCaptured && device.backend.recorder !== undefined);
      }
      outcomes.push(await Promise.all(noted));
    }
    assert(outcomes[0]!.length > 0);
    assertEquals(outcomes[1], outcomes[0]);
  });
}

/** Notes gradients, and begins anew. */
function takeGradients({ layer, optimizer, note }: Stage): void {
  for (const p of layer.parameters()) note(p.grad!);
  optimizer.zeroGrad();
}

sameTest("results of a captured function are theirs, whatever comes after", (stage, isCaptured) => {
  const { call, draw, note, isReplayed } = stage;
  const results = [1, 2, 3, 4, 5].map((n) => noGrad(() => call(mul(draw(), n))));
  assertEquals(isReplayed(), isCaptured);
  results.forEach(note);
});

sameTest("a captured function is replayed backward, added up and moved", (stage, isCaptured) => {
  const { call, draw, note, optimizer, isReplayed } = stage;
  for (let step = 0; step < 5; step++) {
    for (const part of [0, 1]) {
      const y = call(draw());
      note(y);
      backward(sum(square(y)));
      assertEquals(isReplayed(), isCaptured && step >= 2, `part ${part} of step ${step}`);
    }
    optimizer.step();
    takeGradients(stage);
  }
});

sameTest("what a record does not fit is computed anew", (stage, isCaptured) => {
  const { call, draw, note, layer, captured, isReplayed } = stage;
  const train = (x: Tensor) => {
    backward(sum(square(call(x))));
    takeGradients(stage);
    return isReplayed();
  };
  for (let i = 0; i < 3; i++) train(draw());
  assertEquals(train(draw()), isCaptured);
  assert(!train(draw(5)), "another shape");
  assertEquals(train(draw()), isCaptured);

  { // one whose gradients never come
    using _ = scope();
    note(call(draw()));
  }
  assertEquals(isReplayed(), isCaptured);
  // two calls before backward: the first finds gradients that were not there when it was made
  const [first, second] = [call(draw()), call(draw())];
  backward(add(sum(square(first)), sum(second)));
  takeGradients(stage);

  // gradients that are not collected are computed by the ops themselves
  const y = call(draw());
  for (const g of gradients(sum(square(y)), layer.parameters())) note(g);
  // other gradients of the results than those that were recorded
  backward(call(draw()), full([3, 4], 0.5));
  takeGradients(stage);

  layer.bias!.requiresGrad = false;
  backward(sum(square(call(draw()))));
  note(layer.weight.grad!);
  stage.optimizer.zeroGrad();
  layer.bias!.requiresGrad = true;

  const last = call(draw());
  captured.forget(); // what it was recorded in may be anybody's now
  backward(sum(square(last)));
  takeGradients(stage);
  for (let i = 0; i < 4; i++) train(draw());
});

sameTest("a captured function computes in half precision where it is asked to", (stage) => {
  for (let i = 0; i < 4; i++) {
    const y = autocast("f16", () => stage.call(stage.draw()));
    backward(sum(square(y)));
    takeGradients(stage);
  }
});

eachDevice("weights that change every other step do not end replaying for good", async (device) => {
  using layer = new Linear(8, 4);
  using optimizer = new AdamW(layer.parameters());
  using ema = new Ema(layer);
  const fn = ([x]: readonly Tensor[]) => [layer.forward(x!)];
  using captured = new Captured(fn, { parameters: () => layer.parameters() });
  const train = () => {
    using _ = scope();
    const before = replayed(device);
    backward(sum(autocast("f16", () => captured.call([full([3, 8], 1)])[0]!)));
    optimizer.step();
    optimizer.zeroGrad();
    return replayed(device) > before;
  };
  for (let i = 0; i < 8; i++) {
    train();
    if (i % 2 === 1) await ema.swapped(() => {}); // as for samples: the f16 copies are old then
  }
  for (let i = 0; i < 4; i++) train();
  assertEquals(train(), device.backend.recorder !== undefined);
});

eachDevice("another loss now and then does not end replaying for good", (device) => {
  using layer = new Linear(8, 4);
  using optimizer = new AdamW(layer.parameters());
  const fn = ([x]: readonly Tensor[]) => [layer.forward(x!)];
  using captured = new Captured(fn, { parameters: () => layer.parameters() });
  const train = (lossOf: (y: Tensor) => Tensor) => {
    using _ = scope();
    const before = replayed(device);
    backward(lossOf(captured.call([full([3, 8], 1)])[0]!));
    optimizer.zeroGrad();
    return replayed(device) > before;
  };
  const usual = (y: Tensor) => sum(square(y));
  for (let round = 0; round < 5; round++) {
    for (let i = 0; i < 12; i++) train(usual);
    train(sum); // whose gradient has other strides
  }
  for (let i = 0; i < 4; i++) train(usual);
  assertEquals(train(usual), device.backend.recorder !== undefined);
});

eachDevice("what draws random numbers is never replayed", async (device) => {
  const generator = new Generator(2);
  const fn = ([x]: readonly Tensor[]) => [add(x!, rand([4], { generator }))];
  const none: Parameter[] = [];
  using captured = new Captured(fn, { parameters: () => none });
  const before = replayed(device);
  using _ = scope();
  const x = full([4], 0);
  const drawn: number[] = [];
  for (let i = 0; i < 5; i++) drawn.push((await captured.call([x])[0]!.data())[0]!);
  assertEquals(new Set(drawn).size, 5);
  assertEquals(replayed(device), before);
});

sameTest("gradients are not added to old ones where other calls made them first", (stage) => {
  const { call, draw } = stage;
  for (let i = 0; i < 2; i++) {
    // backward reaches the second call first, so the first one finds gradients
    backward(add(sum(square(call(draw()))), sum(call(draw()))));
    takeGradients(stage);
  }
  for (let i = 0; i < 4; i++) {
    backward(sum(square(call(draw()))));
    takeGradients(stage);
  }
});

eachDevice("results that are kept do not lie where later calls are computed", async () => {
  const fn = ([x]: readonly Tensor[]) => {
    const twice = mul(x!, 2);
    return [add(add(twice, 1), twice)];
  };
  using captured = new Captured(fn, { parameters: () => [] });
  using _ = scope();
  const inputs = [1, 2, 3, 4, 5].map((value) => full([2 ** 18], value)); // 1 MiB each
  const results = inputs.map((x) => captured.call([x])[0]!);
  for (const [i, result] of results.entries()) {
    const data = await result.data();
    assertEquals([data[0], data.at(-1)], [4 * i + 5, 4 * i + 5], `result ${i}`);
  }
});

eachDevice("a call that fails is over, and others are replayed", async (device) => {
  using table = new Embedding(4, 8);
  using optimizer = new AdamW(table.parameters());
  let isBroken = false;
  const fn = ([index]: readonly Tensor[]) => {
    const rows = table.forward(index!);
    const product = linear(rows, table.weight);
    if (isBroken) throw new Error("broken");
    return [product];
  };
  using captured = new Captured(fn, { parameters: () => table.parameters() });
  const train = (index: number) => {
    using _ = scope();
    const before = replayed(device);
    const computed = add(tensor([index, 1], [2], { dtype: "i32" }), 0); // nothing is known of it
    backward(sum(autocast("f16", () => captured.call([computed])[0]!)));
    optimizer.zeroGrad();
    return replayed(device) > before;
  };
  const isRecorded = device.backend.recorder !== undefined;
  train(0);
  isBroken = true;
  assertThrows(() => train(1), Error, "broken"); // while it is recorded
  isBroken = false;
  for (let i = 0; i < 3; i++) train(i);
  assertEquals(train(3), isRecorded);
  if (device.name === "wasm") assertThrows(() => train(4), IndexError); // while it is replayed
  assertEquals(train(3), isRecorded);
  await device.backend.sync();
});

eachDevice("a function may give back what it was given", async () => {
  using layer = new Linear(2, 1);
  using _optimizer = new AdamW(layer.parameters());
  const fn = ([x]: readonly Tensor[]) => [x!, layer.weight, layer.forward(x!)];
  using captured = new Captured(fn, { parameters: () => layer.parameters() });
  for (let i = 0; i < 4; i++) {
    using _ = scope();
    const x = tensor([1, i], [1, 2]);
    const [same, weight] = captured.call([x]) as [Tensor, Tensor];
    assertEquals(await same.data(), await x.data());
    backward(sum(mul(weight, 3)));
    assertEquals(Array.from(await layer.weight.grad!.data()), [3, 3]);
    layer.zeroGrad();
  }
});

eachDevice("what was there before is not taken for a result that is computed", async () => {
  using _ = scope();
  const table = tensor([1, 2, 3, 4], [2, 2]);
  const fn = ([x]: readonly Tensor[]) => [add(x!, table), reshape(table, [4])];
  using captured = new Captured(fn, { parameters: () => [] });
  for (let i = 0; i < 4; i++) {
    for (const t of [7, 8, 9].map((value) => full([4], value))) t.dispose(); // what results may lie in
    const [sum, same] = captured.call([full([2, 2], i)]) as [Tensor, Tensor];
    assertEquals(Array.from(await sum.data()), [1 + i, 2 + i, 3 + i, 4 + i]);
    assertEquals(Array.from(await same.data()), [1, 2, 3, 4]);
  }
});

eachDevice("convolutions are replayed from their third call on", (device) => {
  for (const options of [{}, { padding: 1 }, { stride: 3 }]) {
    using layer = new Conv2d(3, 5, options.padding ? 3 : 1, options);
    using captured = new Captured(([x]) => [layer.forward(x!)], {
      parameters: () => layer.parameters(),
    });
    using _ = scope();
    const x = full([2, 3, 7, 7], 1);
    const before = replayed(device);
    for (let i = 0; i < 3; i++) noGrad(() => captured.call([x]));
    assertEquals(replayed(device) > before, device.backend.recorder !== undefined);
  }
});
