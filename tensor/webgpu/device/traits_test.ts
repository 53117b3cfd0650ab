import { assertEquals } from "@std/assert";
import { traitsOf, USUAL_TRAITS } from "./traits.ts";

Deno.test("traitsOf() knows cards by name, and takes the usual cores for others", () => {
  assertEquals(traitsOf("NVIDIA H200", false).cores, 132);
  assertEquals(traitsOf("NVIDIA GeForce RTX 4090", false).cores, 128);
  assertEquals(traitsOf("nvidia-geforce-rtx-4090, NVIDIA: 580.159.04", false).cores, 128);
  assertEquals(traitsOf("Apple M3 Max", false).cores, 36);
  assertEquals(traitsOf("Apple M2", false).cores, 10);
  assertEquals(traitsOf("a card of the future", false), USUAL_TRAITS);
});

Deno.test("traitsOf() leaves shaders short for adapters that are programs", () => {
  assertEquals(traitsOf("llvmpipe (LLVM 15.0.6, 256 bits)", true).writtenOut, false);
  assertEquals(traitsOf("NVIDIA H200", false).writtenOut, true);
});

Deno.test("traitsOf() reads nothing ahead where a thread has few registers", () => {
  assertEquals(traitsOf("Intel(R) Iris(R) Xe Graphics", false).readsAhead, false);
  assertEquals(traitsOf("NVIDIA H200", false).readsAhead, true);
});
