import { assert, assertEquals, assertThrows } from "@std/assert";
import { OutOfMemoryError } from "../../errors.ts";
import { Arena } from "./arena.ts";
import { DeviceMemory } from "./memory.ts";

const MIB = 2 ** 20;

Deno.test("an arena has what it took to itself, and lends it again", () => {
  const memory = new DeviceMemory();
  const arena = new Arena(memory);
  const blocks = [3, 1 << 10, 5 * MIB, 100].map((bytes) => ({
    address: arena.alloc(bytes, "test"),
    bytes,
  }));
  const others = [1 << 10, 5 * MIB].map((bytes) => ({
    address: memory.alloc(bytes, "test"),
    bytes,
  }));
  const sorted = [...blocks, ...others].sort((a, b) => a.address - b.address);
  sorted.slice(1).forEach(({ address }, i) => {
    assert(address >= sorted[i]!.address + sorted[i]!.bytes, "blocks overlap");
  });
  for (const { address } of blocks) arena.free(address);
  assert(arena.isIdle);
  const { growths } = memory;
  assertEquals(blocks.map(({ bytes }) => arena.alloc(bytes, "test")), blocks.map((b) => b.address));
  assertEquals(memory.growths, growths);
});

Deno.test("an arena has room for every size", () => {
  const memory = new DeviceMemory();
  let state = 1;
  const random = (limit: number) => (state = (state * 48271) % 0x7fffffff) % limit;
  for (let i = 0; i < 300; i++) {
    const arena = new Arena(memory);
    const bytes = 1 + random(2 ** (1 + random(24)));
    const address = arena.alloc(bytes, "test");
    assert(Number.isInteger(address), `${bytes} bytes`);
    arena.free(address);
    arena.dispose();
  }
});

Deno.test("an arena yields what it has where there is no other memory, unless it is needed", () => {
  const memory = new DeviceMemory(16 * MIB);
  const arena = new Arena(memory);
  const take = (bytes: number) => arena.free(arena.alloc(bytes, "test"));
  const borrow = (bytes: number) => memory.free(memory.alloc(bytes, "test"));
  take(4 * MIB);
  const { generation } = arena;
  borrow(5 * MIB);
  assertEquals(arena.generation, generation, "the memory grows rather");
  arena.lock();
  assertThrows(() => borrow(12 * MIB), OutOfMemoryError);
  assertEquals(arena.generation, generation, "it is needed");
  arena.unlock();
  borrow(12 * MIB);
  assert(arena.generation > generation);
});
