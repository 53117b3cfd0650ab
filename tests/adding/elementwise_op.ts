import { type Addition, before } from "./addition.ts";

/** x^4, with its gradient. */
export const elementwiseOp: Addition = {
  heading: "An elementwise op",
  files: {
    "autograd/ops/elementwise.ts": [
      before(
        `/** Square root. */\n`,
        `/** x^4 */
export const quartic: (x: Tensor) => Tensor = elementwise("quartic", {
  forward: (x) => x!.mul(x!).mul(x!).mul(x!),
  grads: [(g, [x]) => g.mul(x!).mul(x!).mul(x!).mul(4)],
  saves: [0],
});

`,
      ),
    ],
  },
  proof: `
    for (const device of ["wasm", "reference"]) {
      await core.init({ device });
      const x = new core.Parameter(core.tensor([-2, 3]));
      const y = core.quartic(x);
      assert([...(await y.data())].join() === "16,81", "values on " + device);
      core.backward(core.sum(y));
      assert([...(await x.grad.data())].join() === "-32,108", "gradients on " + device);
    }
    assert(core.ops().has("quartic"), "the generic test of ops walks over it");
  `,
};
