import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  copyInto,
  DTypeError,
  GradientError,
  init,
  memory,
  scope,
  type Tensor,
  tensor,
  UseAfterFreeError,
} from "../tensor/mod.ts";
import { eachDevice } from "../tests/devices.ts";
import { backward, gradients } from "./backward.ts";
import { noGrad } from "./modes.ts";
import { defineOp } from "./op.ts";
import { add, detach, exp, gt, mul, reshape, slice, square, sum } from "./ops/mod.ts";
import { Parameter } from "./parameter.ts";
import { requiresGrad } from "./tape.ts";

const list = async (t: Tensor | null) => t && Array.from(await t.data());

/** On every device, in a scope of its own. */
function test(name: string, run: () => void | Promise<void>): void {
  eachDevice(name, async () => {
    using _ = scope();
    await run();
  });
}

test("backward() adds to a parameter's gradient until zeroGrad()", async () => {
  const p = new Parameter(tensor([1, 2, 3]));
  assertEquals(p.grad, null);
  backward(sum(mul(p, 2)));
  backward(sum(square(p)));
  assertEquals(await list(p.grad), [4, 6, 8]);
  p.zeroGrad();
  assertEquals(p.grad, null);
  backward(sum(p));
  assertEquals(await list(p.grad), [1, 1, 1]);
});

test("backward() adds up every way to a tensor used several times", async () => {
  const p = new Parameter(tensor([1, 2]));
  const x = mul(p, 3);
  backward(sum(add(add(x, mul(x, x)), p))); // 3 + 2 * 9 p + 1
  assertEquals(await list(p.grad), [22, 40]);
});

test("backward() takes a gradient for a loss of several elements", async () => {
  const p = new Parameter(tensor([1, 2, 3]));
  backward(mul(p, p), tensor([1, 0, -1]));
  assertEquals(await list(p.grad), [2, 0, -6]);
});

test("backward() from a parameter itself gives it gradient 1", async () => {
  const p = new Parameter(tensor([5], []));
  backward(p);
  assertEquals(await list(p.grad), [1]);
});

test("backward() leaves frozen parameters and detached tensors without a gradient", async () => {
  const [p, frozen] = [new Parameter(tensor([1, 2])), new Parameter(tensor([3, 4]))];
  frozen.requiresGrad = false;
  assertEquals([requiresGrad(p), requiresGrad(frozen)], [true, false]);
  backward(sum(mul(mul(p, frozen), detach(exp(p)))));
  assertEquals(frozen.grad, null);
  assert(p.grad);
  assertEquals(requiresGrad(detach(mul(p, 2))), false);
  assertEquals((await list(p.grad))!.length, 2);
});

test("backward() reaches views of views and parts that overlap", async () => {
  const p = new Parameter(tensor([1, 2, 3, 4], [2, 2]));
  const flat = reshape(p, [4]);
  const parts = add(slice(flat, 0, { end: 3 }), slice(flat, 0, { start: 1 }));
  backward(sum(mul(parts, tensor([1, 10, 100]))));
  assertEquals(await list(p.grad), [1, 11, 110, 100]);
});

test("backward() goes through chains of 20,000 ops without recursion", async () => {
  const p = new Parameter(tensor([1]));
  let x: Tensor = p;
  for (let i = 0; i < 20_000; i++) x = reshape(x, i % 2 === 0 ? [1, 1] : [1]);
  backward(sum(x));
  assertEquals(await list(p.grad), [1]);
});

test("backward() frees what ops saved as it passes them", () => {
  const p = new Parameter(tensor([1, 2, 3]));
  const { device } = p;
  const before = memory(device).tensors;
  const made = [exp(p)];
  made.push(mul(made[0]!, made[0]!));
  made.push(sum(made[1]!));
  assert(memory(device).tensors > before + 3, "ops save tensors");
  backward(made[2]!);
  made.forEach((t) => t.dispose());
  assertEquals(memory(device).tensors, before + 1); // the gradient
});

test("backward() refuses a loss that depends on no parameter", () => {
  const p = new Parameter(tensor([1, 2]));
  for (const loss of [sum(tensor([1, 2])), noGrad(() => sum(p)), sum(detach(p))]) {
    assertThrows(() => backward(loss), GradientError, "backward: the loss depends on no parameter");
  }
  // comparisons have no gradient
  assertThrows(() => backward(gt(sum(p), 1)), GradientError, "depends on no parameter");
});

test("backward() refuses a loss of several elements, and a gradient of another shape", () => {
  const p = new Parameter(tensor([1, 2]));
  const two = mul(p, 2);
  assertThrows(() => backward(two), GradientError, "expected a loss with one element");
  assertThrows(() => backward(two, tensor([1])), GradientError, "of shape [2] but got [1]");
  backward(two, tensor([1, 1])); // a refusal leaves the tape as it was
});

test("backward() twice is refused, also through an op that two losses share", () => {
  const p = new Parameter(tensor([1, 2]));
  const shared = exp(p);
  const [first, second] = [sum(shared), sum(square(shared))];
  backward(first);
  const message = "was already freed: expected one backward a forward";
  assertThrows(() => backward(first), GradientError, `sum ${message}`);
  assertThrows(() => backward(second), GradientError, `exp ${message}`);
});

test("gradients of gradients are refused clearly", () => {
  const p = new Parameter(tensor([1, 2]));
  backward(sum(mul(p, mul(p, p))));
  const message = "gradients of gradients are not supported";
  assertThrows(() => backward(sum(p.grad!)), GradientError, message);
  const [g] = gradients(sum(square(p)), [p]);
  assertThrows(() => gradients(sum(g!), [p]), GradientError, message);
});

test("backward() refuses a parameter that was changed in place after the forward pass", async () => {
  const p = new Parameter(tensor([1, 2], [1, 2]));
  const loss = sum(add(p, 1));
  const square = sum(mul(p, p));
  copyInto(tensor([5, 6], [1, 2]), p);
  p.storage.version++;
  backward(loss); // does not need the parameter's value
  assertEquals(await list(p.grad), [1, 1]);
  const { message } = assertThrows(() => backward(square), GradientError);
  assert(message.includes("a tensor of shape [1, 2] that mul needs was changed in place"), message);
});

test("gradients() gives those of parameters and of tensors on the way, and touches no grad", async () => {
  const p = new Parameter(tensor([1, 2]));
  const unrelated = new Parameter(tensor([1], [1], { dtype: "f16" }));
  const x = mul(p, 3);
  const [byP, byX, none] = gradients(sum(mul(x, x)), [p, x, unrelated]);
  assertEquals(await list(byP!), [18, 36]);
  assertEquals(await list(byX!), [6, 12]);
  assertEquals([await list(none!), none!.dtype], [[0], "f16"]);
  assertEquals(p.grad, null);
  const message = "depends on no parameter";
  assertThrows(() => gradients(sum(mul(p, 1)), [tensor([1])]), GradientError, message);
});

test("a kept tensor takes its history along, so that gradients flow through inner scopes", async () => {
  const p = new Parameter(tensor([1, 2]));
  let kept: Tensor;
  {
    using outer = scope();
    let middle: Tensor;
    {
      using inner = scope();
      const x = mul(exp(mul(p, 0)), p); // p
      exp(p); // not kept: goes with the scope
      middle = inner.keep(mul(x, x));
    }
    kept = outer.keep(mul(middle, 3));
  }
  backward(sum(kept));
  assertEquals(await list(p.grad), [6, 12]);
});

test("a tensor that was not kept is gone, and so is its history", () => {
  const p = new Parameter(tensor([1, 2]));
  let lost: Tensor;
  {
    using _ = scope();
    lost = mul(p, p);
  }
  assertThrows(() => sum(lost), UseAfterFreeError, "sum: a tensor of shape [2] was used after");
});

test("a tape without a backward is freed with its scope", () => {
  const p = new Parameter(tensor(new Float32Array(1000)));
  const before = memory(p.device);
  for (let i = 0; i < 3; i++) {
    using _ = scope();
    let x: Tensor = p;
    for (let k = 0; k < 10; k++) x = exp(mul(x, x));
    sum(x);
  }
  const { liveBytes, tensors, storages } = memory(p.device);
  assertEquals([liveBytes, tensors, storages], [before.liveBytes, before.tensors, before.storages]);
});

test("gradients arrive in the parameter's own type", async () => {
  const p = new Parameter(tensor([1, 2], [2], { dtype: "f16" }));
  backward(sum(mul(p, p)));
  assertEquals([p.grad!.dtype, await list(p.grad)], ["f16", [2, 4]]);
});

Deno.test("a parameter of integers is refused unless it is frozen", async () => {
  await init({ device: "wasm" });
  using _ = scope();
  const whole = () => tensor([1, 2], [2], { dtype: "i32" });
  assertThrows(
    () => new Parameter(whole()),
    DTypeError,
    "Parameter: expected one floating-point dtype",
  );
  assertEquals(new Parameter(whole(), { requiresGrad: false }).dtype, "i32");
});

Deno.test("an op whose gradient has the wrong shape is named", async () => {
  await init({ device: "wasm" });
  using _ = scope();
  const call = defineOp<null, readonly []>({
    name: "misshapen",
    forward: ([x]) => ({ out: mul(x!, 1), saved: [] }),
    backward: ([g]) => [sum(g!)],
    samples: [],
  });
  const p = new Parameter(tensor([1, 2]));
  const loss = sum(call([p], null)[0]!);
  assertThrows(
    () => backward(loss),
    Error,
    "misshapen: expected gradient 0 of shape [2] but got []",
  );
});

const same = defineOp<null, readonly []>({
  name: "same",
  forward: ([x]) => ({ out: x!, saved: [] }),
  backward: ([g]) => [g!],
  samples: [],
});
const plus = defineOp<null, readonly []>({
  name: "plus",
  forward: ([a, b]) => ({ out: add(a!, b!), saved: [] }),
  backward: ([g]) => {
    const both = mul(g!, 1);
    return [both, both];
  },
  samples: [],
});

test("an op may give back its operand, the gradient it got, and one gradient twice", async () => {
  const [p, q] = [new Parameter(tensor([1, 2])), new Parameter(tensor([3, 4]))];
  const [x, y] = [square(p), square(q)];
  const [again] = same([x], null);
  const [both] = plus([again!, y], null);
  backward(sum(add(mul(both!, x), add(x, y)))); // (p^2 + q^2) p^2 + p^2 + q^2
  assertEquals(await list(p.grad), [4 + 2 * 9 + 2, 32 + 4 * 16 + 4]);
  assertEquals(await list(q.grad), [6 + 6, 8 * 4 + 8]);
});

Deno.test("an op that fails leaves nothing behind and the switches as they were", async () => {
  const device = await init({ device: "wasm" });
  using _ = scope();
  const call = defineOp<null, readonly []>({
    name: "failing",
    forward: ([x]) => ({ out: mul(x!, 1), saved: [] }),
    backward: ([g]) => {
      exp(g!);
      throw new RangeError("planted");
    },
    samples: [],
  });
  const p = new Parameter(tensor([1, 2]));
  const before = memory(device).tensors;
  {
    using _ = scope();
    const loss = sum(call([p], null)[0]!);
    assertThrows(() => backward(loss), RangeError, "planted");
    assert(requiresGrad(mul(p, 2)));
  }
  assertEquals(memory(device).tensors, before);
});

test("backward() says when a gradient is complete, while others are still to come", async () => {
  using first = new Parameter(tensor([1, 2]));
  using shared = new Parameter(tensor([3, 4]));
  using last = new Parameter(tensor([5, 6]));
  using idle = new Parameter(tensor([7, 8]));
  const seen: { name: string; grad: Promise<unknown> }[] = [];
  const names = new Map([[first, "first"], [shared, "shared"], [last, "last"], [idle, "idle"]]);
  const onGradient = (p: Parameter) => {
    seen.push({ name: names.get(p)!, grad: list(p.grad) });
    assertEquals(first.grad === null, p === last, "what is used first is still to come");
  };
  const x = mul(first, shared);
  const y = mul(x, shared);
  detach(mul(y, idle));
  backward(sum(mul(y, last)), undefined, { onGradient });
  assertEquals(seen.map(({ name }) => name), ["last", "first", "shared"]);
  const expected = [[9, 32], [45, 96], [30, 96]];
  for (const [i, { grad }] of seen.entries()) assertEquals(await grad, expected[i]);
});
