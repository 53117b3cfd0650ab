import { assert, assertEquals } from "@std/assert";
import { AdamW, Linear } from "../nn/mod.ts";
import { type Device, full, Generator, rand, scope, type Tensor } from "../tensor/mod.ts";
import { eachDevice } from "../tests/devices.ts";
import {
  add,
  autocast,
  backward,
  Captured,
  gradients,
  mul,
  noGrad,
  type Parameter,
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
