import { assertEquals } from "@std/assert";
import { usualCfgScale } from "./flags.ts";

Deno.test("samples are guided as the original's, but for models that have learned guidance", () => {
  assertEquals([undefined, 4, 1.5, 1].map(usualCfgScale), [1.5, 1.5, 1.5, 1]);
});
