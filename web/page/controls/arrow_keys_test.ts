import { assertEquals } from "@std/assert";
import { targetOf } from "./arrow_keys.ts";

Deno.test("arrow keys lead to what is beside, above and below, whatever the order is", () => {
  // five in rows of three, and the same in columns of two
  const rows = Array.from({ length: 5 }, (_, i) => {
    return { offsetLeft: i % 3 * 50, offsetTop: Math.floor(i / 3) * 50 };
  });
  const columns = Array.from({ length: 5 }, (_, i) => {
    return { offsetLeft: Math.floor(i / 2) * 50, offsetTop: i % 2 * 50 };
  });
  const keys = ["ArrowRight", "ArrowLeft", "ArrowDown", "ArrowUp", "Home", "End", "a"];
  assertEquals(keys.map((key) => targetOf(key, 1, rows)), [2, 0, 4, -1, 0, 4, -1]);
  assertEquals(keys.map((key) => targetOf(key, 4, rows)), [-1, 3, -1, 1, 0, 4, -1]);
  assertEquals(keys.map((key) => targetOf(key, 1, columns)), [3, -1, -1, 0, 0, 4, -1]);
});
