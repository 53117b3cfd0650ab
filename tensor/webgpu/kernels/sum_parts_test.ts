import { assertEquals } from "@std/assert";
import { partsFor } from "./sum_parts.ts";

Deno.test("partsFor() divides long sums only where there are few of them", () => {
  assertEquals(partsFor(1000, 1_000_000, 4096), 1);
  assertEquals(partsFor(32, 1_000_000, 4096), 8);
  assertEquals(partsFor(1, 5000, 4096), 1);
});
