import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  currentDevice,
  Generator,
  GradientError,
  randn,
  scope,
  type Tensor,
  tensor,
} from "../tensor/mod.ts";
import { eachDevice } from "../tests/devices.ts";
import { checkpoint } from "./checkpoint.ts";
import { gradcheck } from "./gradcheck.ts";
import { defineOp } from "./op.ts";
import { add, dropout, exp, linear, matmul, mul, split, square, sum } from "./ops/mod.ts";
import { Parameter } from "./parameter.ts";

/** x^2 with a gradient that is wrong by `factor`; declared here, where no walk of ops sees it. */
function wrongSquare(name: string, factor: number | null) {
  const call = defineOp<null, readonly [Tensor]>({
    name,
    forward: ([x]) => ({ out: mul(x!, x!), saved: [x!] }),
    backward: ([g], [x]) => [factor === null ? null : mul(mul(g!, x), factor)],
    samples: [],
  });
  return (x: Tensor) => call([x], null)[0]!;
}
const doubled = wrongSquare("square of gradient 4x", 4);
const slightly = wrongSquare("square of gradient 2.01x", 2.01);
const missing = wrongSquare("square without gradient", null);
const right = wrongSquare("square of gradient 2x", 2);

eachDevice("gradcheck() accepts right gradients and says how near they were", async () => {
  using _ = scope();
  const [x, y] = [tensor([1, 2, 3]), tensor([0.5, -1, 2])];
  const results = await gradcheck((a, b) => [right(a!), mul(exp(b!), a!)], [x, y]);
  assertEquals(results.map((r) => r.compared), [3, 3]);
  for (const { error } of results) assert(error < 1e-5);
});

for (const [name, op] of Object.entries({ doubled, slightly, missing })) {
  eachDevice(`gradcheck() catches a planted wrong gradient: ${name}`, async () => {
    using _ = scope();
    const x = tensor([1, 2, 3]);
    await assertRejects(
      () => gradcheck((a) => op(a!), [x]),
      GradientError,
      "gradcheck: input 0 of shape [3], element 0: expected",
    );
  });
}

eachDevice("gradcheck() catches one wrong element among right ones", async () => {
  using _ = scope();
  const x = tensor([1, 2, 3, 4], [4]);
  const fn = (a: Tensor) => {
    const [first, last] = split(a, [3, 1]);
    return add(sum(square(first!)), sum(slightly(last!)));
  };
  await assertRejects(() => gradcheck((a) => fn(a!), [x]), GradientError, "element 3");
  const [found] = await gradcheck((a) => fn(a!), [x], { samples: 2 });
  assertEquals(found!.compared, 2); // elements 0 and 2
});

eachDevice(
  "gradcheck() copies parameters and constants that the function closes over",
  async () => {
    using _ = scope();
    const generator = new Generator(1);
    const w = new Parameter(randn([3, 4], { generator }));
    const constant = randn([2, 3], { generator });
    const x = randn([2, 4], { generator });
    const before = currentDevice();
    await gradcheck((a) => mul(linear(a!, w), constant), [x]);
    await gradcheck(() => mul(linear(x, w), constant), [w]); // by a parameter it closes over
    assertEquals(currentDevice(), before);
    assertEquals(w.grad, null);
  },
);

eachDevice("gradcheck() draws the same numbers every time", async () => {
  using _ = scope();
  const generator = new Generator(1);
  const x = randn([20], { generator: new Generator(2) });
  const fn = (a: Tensor) => {
    return square(dropout(add(a, randn([20], { generator })), 0.5, { generator }));
  };
  await gradcheck((a) => fn(a!), [x]);
  assertEquals(generator.offset, 40); // as if it had run once
});

eachDevice("gradcheck() sees through checkpoints", async () => {
  using _ = scope();
  const w = new Parameter(tensor([1, 2, 3, 4], [2, 2]));
  const x = tensor([0.5, -1, 2, 1], [2, 2]);
  const fn = (a: Tensor) => exp(matmul(square(a), w));
  await gradcheck((a) => checkpoint(fn, mul(a!, 0.5)), [x]);
  const wrong = (a: Tensor) => checkpoint((b) => doubled(b), a);
  await assertRejects(() => gradcheck((a) => wrong(a!), [x]), GradientError, "input 0");
});

eachDevice("gradcheck() leaves no switch set after the function fails", async () => {
  using _ = scope();
  const x = tensor([1, 2]);
  const failing = () => {
    throw new RangeError("planted");
  };
  await assertRejects(() => gradcheck(failing, [x]), RangeError, "planted");
  await gradcheck((a) => square(a!), [x]);
});
