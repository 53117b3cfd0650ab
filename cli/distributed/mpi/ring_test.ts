import { assertEquals } from "@std/assert";
import { type Order, Ring, SLOTS } from "./ring.ts";

const ORDERS: readonly Order[] = [
  { operation: "allReduce", address: 2n ** 46n, count: 2 ** 30, type: "byte", reduction: "max" },
  { operation: "broadcast", address: 8n, count: 3, root: 63 },
  { operation: "barrier" },
  { operation: "finalize" },
];

Deno.test("orders come through a ring as they were given, also where the count wraps around", () => {
  const ring = new Ring();
  const other = new Ring(ring.buffer);
  for (const start of [0, 2 ** 31 - 2]) {
    ORDERS.forEach((order, i) => ring.give(start + i | 0, order));
    ORDERS.forEach((order, i) => assertEquals(other.take(start + i | 0), order));
    other.finish(start + SLOTS | 0);
    assertEquals(ring.done, start + SLOTS + 1 | 0);
  }
});

Deno.test("an abort reaches a thread that waits for orders", () => {
  const ring = new Ring();
  const other = new Ring(ring.buffer);
  assertEquals(other.aborted, null);
  ring.abort(0);
  assertEquals(other.take(0), null);
  assertEquals(other.aborted, 0);
});
