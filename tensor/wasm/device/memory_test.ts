import { assert, assertEquals, assertThrows } from "@std/assert";
import { OutOfMemoryError } from "../../errors.ts";
import { WIDE_SHARED } from "../emit/assembler.ts";
import { HEAP_START } from "./layout.ts";
import { ALIGNMENT, DeviceMemory, Heap } from "./memory.ts";

const MIB = 2 ** 20, GIB = 2 ** 30;

function heapOf(limit: number): Heap {
  let size = 0;
  return new Heap((bytes) => {
    const step = Math.ceil(bytes / 65536) * 65536;
    if (size + step > limit) return 0;
    size += step;
    return step;
  }, 0);
}

Deno.test("no block is taken for one that is larger by 2^32 times its alignment", () => {
  const heap = heapOf(GIB);
  for (let bytes = MIB; bytes <= 256 * MIB; bytes *= 2) {
    heap.free(heap.alloc(bytes)!);
    assertEquals(heap.alloc(2 ** 32 * ALIGNMENT + bytes / 2), undefined);
  }
});

Deno.test("blocks are aligned and do not overlap through random use", () => {
  const heap = heapOf(64 * MIB);
  const blocks = new Map<number, number>();
  let state = 1;
  const random = (limit: number) => (state = (state * 48271) % 0x7fffffff) % limit;
  for (let i = 0; i < 4000; i++) {
    if (blocks.size > 0 && random(100) < 48) {
      const address = [...blocks.keys()][random(blocks.size)]!;
      heap.free(address);
      blocks.delete(address);
    } else {
      const bytes = 1 + random(2 ** (1 + random(17)));
      const address = heap.alloc(bytes);
      assert(address !== undefined);
      assertEquals(address % ALIGNMENT, 0);
      blocks.set(address, bytes);
    }
    if (i % 200 !== 0) continue;
    let end = 0;
    for (const [address, bytes] of [...blocks].sort(([a], [b]) => a - b)) {
      assert(address >= end, "blocks overlap");
      end = address + bytes;
    }
  }
  // Everything merges again: one block takes the whole region.
  for (const address of blocks.keys()) heap.free(address);
  assertEquals(heap.alloc(4 * MIB), 0);
});

Deno.test("a freed block is given out again before the region grows", () => {
  const heap = heapOf(2 * MIB);
  const first = heap.alloc(1.5 * MIB)!;
  heap.alloc(128);
  heap.free(first);
  for (let i = 0; i < 10; i++) {
    assertEquals(heap.alloc(1.5 * MIB), first);
    heap.free(first);
  }
});

Deno.test("a block that just fits is found at the region's end", () => {
  const heap = heapOf(65536);
  const all = heap.alloc(65536)!;
  heap.free(all);
  // 65536 - 128 is in a class with smaller blocks, so a search by class alone would miss it.
  assertEquals(heap.alloc(65536 - 128), all);
});

Deno.test("alloc() gives nothing where the region cannot grow", () => {
  const heap = heapOf(65536);
  assertEquals(heap.alloc(65537), undefined);
  assertEquals(heap.alloc(65536), 0);
  assertEquals(heap.alloc(1), undefined);
});

Deno.test("free() refuses an address that is not in use", () => {
  const heap = heapOf(MIB);
  const address = heap.alloc(100)!;
  heap.free(address);
  assertThrows(() => heap.free(address), RangeError, "nothing is allocated");
});

Deno.test("DeviceMemory grows on demand and counts it", () => {
  const memory = new DeviceMemory(64 * MIB);
  const before = memory.reservedBytes;
  const address = memory.alloc(10 * MIB, "test");
  assert(address >= HEAP_START);
  assert(memory.reservedBytes >= before + 10 * MIB);
  assertEquals(memory.growths, 1);
  memory.free(address);
  memory.free(memory.alloc(10 * MIB, "test"));
  assertEquals(memory.growths, 1);
  assert(memory.memory.buffer.byteLength >= address + 10 * MIB + 65536, "no room past the end");
});

Deno.test("DeviceMemory takes half the addresses, and half again, where a system has fewer", () => {
  const asked: number[] = [];
  const upTo = (most: number) => (initial: number, maximum: number): WebAssembly.Memory => {
    asked.push(maximum * 65536);
    if (maximum * 65536 > most) throw new RangeError("could not allocate memory");
    return new WebAssembly.Memory({ initial: 1, maximum: initial, shared: true });
  };
  assertEquals(new DeviceMemory(undefined, WIDE_SHARED, upTo(4 * GIB)).maxBytes, 4 * GIB);
  assertEquals(asked.splice(0), [16 * GIB, 8 * GIB, 4 * GIB]);
  assertEquals(new DeviceMemory(3 * GIB, WIDE_SHARED, upTo(GIB)).maxBytes, GIB);
  assertEquals(asked.splice(0), [3 * GIB, 1.5 * GIB, GIB]);
  assertEquals(new DeviceMemory(64 * MIB, WIDE_SHARED, upTo(GIB)).maxBytes, 64 * MIB);
  assertThrows(
    () => new DeviceMemory(undefined, WIDE_SHARED, upTo(MIB)),
    OutOfMemoryError,
    `wasm: expected ${GIB} bytes of address space for its memory but got none`,
  );
  const broken = () => {
    throw new TypeError("no 64-bit memories");
  };
  assertThrows(
    () => new DeviceMemory(undefined, WIDE_SHARED, broken),
    TypeError,
    "no 64-bit memories",
  );
});

Deno.test("running out of memory names the op and the bytes", () => {
  const memory = new DeviceMemory(8 * MIB);
  assertThrows(() => memory.alloc(9 * MIB, "matmul"), OutOfMemoryError, "matmul");
  assertThrows(() => memory.alloc(9 * MIB, "matmul"), OutOfMemoryError, String(9 * MIB));
  memory.alloc(4 * MIB, "matmul");
});

for (const shared of [true, false]) {
  for (const bits of [32, 64] as const) {
    Deno.test(`memory with ${bits}-bit addresses grows, ${shared ? "" : "not "}shared`, () => {
      const memory = new DeviceMemory(undefined, { shared, bits });
      assertEquals(memory.maxBytes, (bits === 64 ? 16 : 4) * GIB);
      assertEquals(memory.memory.buffer instanceof SharedArrayBuffer, shared);
      const address = memory.alloc(10 * MIB, "test");
      assert(memory.memory.buffer.byteLength >= address + 10 * MIB + 65536);
    });
  }
}
