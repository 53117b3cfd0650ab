import { assert, assertEquals, assertThrows } from "@std/assert";
import type { DeviceBuffer, View } from "../../view.ts";
import { IndexError } from "../../errors.ts";
import { program } from "../../expr.ts";
import { createWasmBackend, type WasmBackend } from "../backend.ts";

const f32 = { kind: "input", ty: "f32" } as const;
const sum = program("recordingTest.sum", [f32, f32], (x, y) => x.add(y));

const view = (buffer: DeviceBuffer, offset = 0, length = 8): View => {
  return { buffer, dtype: "f32", offset, shape: [length], strides: [1] };
};

function add(b: WasmBackend, x: View, y: View, out: View): void {
  b.run("elementwise", { program: sum, ins: [x, y], outs: [out], scalars: [] }, "");
}

/** A buffer of eight times the same. */
function filled(b: WasmBackend, value: number): DeviceBuffer {
  const buffer = b.alloc(32, "test");
  b.write(buffer, 0, new Float32Array(8).fill(value));
  return buffer;
}

const first = async (b: WasmBackend, buffer: DeviceBuffer) =>
  (await b.read(buffer, "f32", 0, 1))[0];

function wasmTest(name: string, fn: (b: WasmBackend) => void | Promise<void>): void {
  Deno.test(name, async () => {
    const backend = await createWasmBackend({ threads: 1 });
    try {
      await fn(backend);
    } finally {
      await backend.dispose();
    }
  });
}

wasmTest("recorded launches and writes are done again on other buffers", async (b) => {
  const recorder = b.recorder!;
  const memory = recorder.newMemory();
  const weight = filled(b, 100);
  const [x, out] = [filled(b, 1), filled(b, 0)];
  // out = x + weight + 10 + x, the second half of it from a window
  const work = () => {
    const [between, constant] = [b.alloc(32, "test"), filled(b, 10)];
    add(b, view(x), view(weight), view(between));
    add(b, view(between), view(constant), view(between));
    for (const at of [0, 4]) add(b, view(between, at, 4), view(x, at, 4), view(out, at, 4));
    b.free(between);
    b.free(constant);
  };
  const trial = recorder.record(work);
  const recorded = recorder.record(work, memory);
  assert(recorded.matches(trial));
  assert(!trial.bind([x, out]), "without memory of its own it is to compare with");
  assert(recorded.bind([x, out]));
  assert(memory.isIdle && recorded.isValid);
  assertEquals(await first(b, out), 112);

  // others may have what was free before; what is recorded keeps its places
  const others = Array.from({ length: 9 }, () => filled(b, -1));
  const [other, result] = [filled(b, 2), filled(b, 0)];
  const { all, replayed } = recorder.launches;
  recorded.replay([other, result]);
  recorded.replay([x, out]);
  assertEquals(recorder.launches, { all: all + 8, replayed: replayed + 8 });
  assertEquals([await first(b, result), await first(b, out)], [114, 112]);
  for (const buffer of others) assertEquals(await first(b, buffer), -1);

  b.write(weight, 0, new Float32Array(8).fill(200)); // in place
  recorded.replay([other, result]);
  assertEquals(await b.read(result, "f32", 0, 8), new Float32Array(8).fill(214));

  b.free(weight);
  filled(b, 1); // where the weight was
  assert(!recorded.isValid, "a buffer that it reads was freed");
});

wasmTest("numbers that could be addresses are left as they are", async (b) => {
  const scaled = program("recordingTest.scaled", [f32, { kind: "scalar", ty: "f32" }], (x, s) => {
    return x.mul(s);
  });
  const [x, out] = [filled(b, 1), filled(b, 0)];
  // the addresses of both, and the first behind what marks addresses
  const scalars = [x, out].map((buffer) => (buffer as unknown as { address: number }).address);
  const work = (s: number) => () => {
    b.run("elementwise", { program: scaled, ins: [view(x)], outs: [view(out)], scalars: [s] }, "");
  };
  for (const s of [...scalars, scalars[0]! + 0.5]) {
    const memory = b.recorder!.newMemory();
    const trial = b.recorder!.record(work(s));
    const recorded = b.recorder!.record(work(s), memory);
    assert(recorded.matches(trial) && recorded.bind([x, out]));
    const [other, result] = [filled(b, 2), filled(b, 0)];
    recorded.replay([other, result]);
    assertEquals(await first(b, result), Math.fround(2 * s));
    assert(!b.recorder!.record(work(s + 1)).matches(trial));
    memory.dispose();
  }
});

wasmTest("work that reads back, or binds a buffer twice, is not to be replayed", async (b) => {
  const recorder = b.recorder!;
  const memory = recorder.newMemory();
  const [x, out] = [filled(b, 1), filled(b, 0)];
  let read: Promise<unknown> = Promise.resolve();
  const reading = recorder.record(() => {
    assert(!recorder.isReady);
    read = b.read(out, "f32", 0, 8);
  }, memory);
  await read;
  assert(!reading.bind([x, out]));
  const seen = recorder.record(() => void b.hostView!(out, 0, 8), memory);
  assert(!seen.bind([x, out]));
  assert(recorder.isReady);
  const work = () => add(b, view(x), view(x), view(out));
  assert(!recorder.record(work, memory).bind([x, x]));
  assert(recorder.record(work, memory).bind([x, out]));
  const other = recorder.record(() => add(b, view(x), view(x), view(x)), memory);
  assert(!other.matches(reading));
});

wasmTest("indices are looked at again when work is replayed", (b) => {
  const [x, index] = [filled(b, 1), b.alloc(8, "test")];
  const indices = (buffer: DeviceBuffer): View => {
    return { buffer, dtype: "i32", offset: 0, shape: [2], strides: [1] };
  };
  b.write(index, 0, Int32Array.of(0, 3));
  const recorded = b.recorder!.record(
    () => b.checkIndices(indices(index), 4, "test"),
    b.recorder!
      .newMemory(),
  );
  assert(recorded.bind([x, index]));
  const other = b.alloc(8, "test");
  b.write(other, 0, Int32Array.of(0, 4));
  recorded.replay([x, index]);
  assertThrows(() => recorded.replay([x, other]), IndexError, "[0, 4) but got 4");
});

wasmTest("a record made for other threads is not valid", async (b) => {
  const [x, out] = [filled(b, 1), filled(b, 0)];
  const memory = b.recorder!.newMemory();
  const recorded = b.recorder!.record(() => add(b, view(x), view(x), view(out)), memory);
  assert(recorded.bind([x, out]) && recorded.isValid);
  await b.setThreads(2);
  assert(!recorded.isValid);
});

wasmTest("memory of recordings is theirs until they are disposed of", (b) => {
  const recorder = b.recorder!;
  const memory = recorder.newMemory();
  const size = 1 << 24;
  const recorded = recorder.record(() => b.free(b.alloc(size, "test")), memory);
  assert(recorded.bind([]) && recorded.isValid);
  const { allocations } = b.memory();
  b.free(b.alloc(size, "test"));
  assert(recorded.isValid);
  assertEquals(b.memory().allocations, allocations + 1);
  memory.dispose();
  assert(!recorded.isValid);
  b.free(b.alloc(2 * size, "test"));
  assertEquals(b.memory().allocations, allocations + 1, "all of it is free again");
});

wasmTest("memory in use is given back when it is not any more", (b) => {
  const memory = b.recorder!.newMemory();
  let kept: DeviceBuffer | null = null;
  b.recorder!.record(() => kept = b.alloc(1 << 22, "test"), memory);
  assert(!memory.isIdle);
  memory.dispose();
  const { allocations } = b.memory();
  b.free(kept!);
  b.alloc(1 << 22, "test");
  assertEquals(b.memory().allocations, allocations);
});
