import { assert, assertEquals, assertThrows } from "@std/assert";
import { eachDevice } from "../../tests/devices.ts";
import { Generator, randn, scope, ShapeError, type Tensor, zeros } from "../../tensor/mod.ts";
import { backward } from "../backward.ts";
import { Parameter } from "../parameter.ts";
import { add, mul } from "./elementwise.ts";
import { gatedResidual } from "./gated_residual.ts";
import { type GatedSum, layerNormFork } from "./layer_norm.ts";
import { sum } from "./reduce.ts";

/** What a fork of a gated sum gives, and the gradients of x, gate, h, shift and scale. */
async function forked(sumOf: (parts: GatedSum) => Tensor | GatedSum): Promise<number[][]> {
  using _ = scope();
  const generator = new Generator(5);
  const drawn = ([[2, 5, 12], [2, 12], [2, 5, 12], [2, 12], [2, 12]] as const).map((shape) =>
    new Parameter(randn([...shape], { generator }))
  );
  const [x, gate, h, shift, scale] = drawn as [
    Parameter,
    Parameter,
    Parameter,
    Parameter,
    Parameter,
  ];
  const [past, normed] = layerNormFork(sumOf({ x, gate, h }), shift, scale);
  const weights = randn([2, 5, 12], { generator });
  backward(sum(add(mul(past, weights), mul(normed, mul(weights, weights)))));
  const found = await Promise.all(
    [past, normed, ...drawn.map((p) => p.grad!)].map(async (t) => Array.from(await t.data())),
  );
  for (const parameter of drawn) parameter.dispose();
  return found;
}

eachDevice(
  "layerNormFork() of a gated sum is that of what gatedResidual() gives",
  async (device) => {
    const apart = await forked(({ x, gate, h }) => gatedResidual(x, gate, h));
    const together = await forked((parts) => parts);
    // The kernels of WebAssembly are the same; a GPU's may round a product before it is added, or not.
    if (device.backend.name === "wasm") return assertEquals(together, apart);
    together.forEach((values, i) =>
      values.forEach((value, j) => {
        const wanted = apart[i]![j]!;
        assert(
          Math.abs(value - wanted) <= 1e-5 * (1 + Math.abs(wanted)),
          `${value}, not ${wanted}`,
        );
      })
    );
  },
);

eachDevice("layerNormFork() says what it expected of a gated sum", () => {
  using _ = scope();
  const [x, gate] = [zeros([2, 3, 4]), zeros([2, 4])];
  const sum = { x, gate, h: zeros([2, 4, 3]) };
  assertThrows(
    () => layerNormFork(sum, gate, gate),
    ShapeError,
    "a gate [B, N] and h [B, T, N] but got [2, 3, 4], [2, 4], [2, 4], [2, 4], [2, 4, 3]",
  );
}, ["wasm"]);
