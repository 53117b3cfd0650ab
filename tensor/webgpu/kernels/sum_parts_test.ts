import { assertEquals } from "@std/assert";
import { USUAL_TRAITS } from "../device/traits.ts";
import { partsFor } from "./sum_parts.ts";

const TRAITS = { ...USUAL_TRAITS, cores: 64 };

Deno.test("partsFor() divides long sums only where there are few of them", () => {
  assertEquals(partsFor(TRAITS, 1000, 1_000_000, 4096), 1);
  assertEquals(partsFor(TRAITS, 32, 1_000_000, 4096), 8);
  assertEquals(partsFor(TRAITS, 1, 5000, 4096), 1);
});
