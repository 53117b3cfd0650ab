/** The engine on Dawn: the kernels that Deno's WebGPU runs, by another compiler and driver. */
import { assert, assertEquals } from "@std/assert";
import { found, onDawn } from "./dawn.ts";
import type { Conformed } from "./dawn/process.ts";

const missing = "missing" in found ? ` (${found.missing})` : "";

Deno.test({
  name: `every kernel agrees with the reference on Dawn${missing}`,
  ignore: missing !== "",
  async fn() {
    const { cases, failures } = await onDawn<Conformed>("conformance");
    assert(cases > 200, `${cases}`);
    assertEquals(failures, []);
  },
});

const noMatrices = "missing" in found
  ? missing
  : found.unit === null
  ? " (needs an adapter with matrices: a card of NVIDIA or Apple, or Mesa 26)"
  : "";

Deno.test({
  name: `products of f16 are right on matrix units${noMatrices}`,
  ignore: noMatrices !== "",
  async fn() {
    const { failures, hasMatrices, launches, cases } = await onDawn<Conformed>("matrices");
    assertEquals(failures, []);
    assert(hasMatrices, "the probe refused them");
    assertEquals(launches, { onMatrices: 2 * cases, split: 2 }); // each is run twice
  },
});

Deno.test({
  name: `attention of f16 is right on matrix units${noMatrices}`,
  ignore: noMatrices !== "",
  async fn() {
    const { failures, launches, cases, attentionGrads } = await onDawn<Conformed>(
      "matrixAttention",
    );
    assertEquals(failures, []);
    assertEquals(launches, { onMatrices: 2 * (cases + attentionGrads), split: 0 });
  },
});
