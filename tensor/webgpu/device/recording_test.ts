import { assert, assertEquals } from "@std/assert";
import type { DeviceBuffer, View } from "../../view.ts";
import { program } from "../../expr.ts";
import { createWebGpuBackend, type WebGpuBackend } from "../backend.ts";
import { CountingGpu } from "../counting_gpu_test_util.ts";
import { gpuTest } from "./device_test_util.ts";

const f32 = { kind: "input", ty: "f32" } as const;
const sum = program("recordingTest.sum", [f32, f32], (x, y) => x.add(y));

const view = (buffer: DeviceBuffer): View => {
  return { buffer, dtype: "f32", offset: 0, shape: [8], strides: [1] };
};

function add(b: WebGpuBackend, x: DeviceBuffer, y: DeviceBuffer, out: DeviceBuffer): void {
  b.run(
    "elementwise",
    { program: sum, ins: [view(x), view(y)], outs: [view(out)], scalars: [] },
    "",
  );
}

/** A buffer of eight times the same. */
function filled(b: WebGpuBackend, value: number): DeviceBuffer {
  const buffer = b.alloc(32, "test");
  b.write(buffer, 0, new Float32Array(8).fill(value));
  return buffer;
}

const first = async (b: WebGpuBackend, buffer: DeviceBuffer) =>
  (await b.read(buffer, "f32", 0, 1))[0];

gpuTest("recorded launches, copies and writes are done again on other buffers", async (b) => {
  const { runtime } = b;
  const recorder = b.recorder!;
  const memory = recorder.newMemory();
  const weight = filled(b, 100);
  const [x, out] = [filled(b, 1), filled(b, 0)];
  // out = x + weight + 10 + x
  const work = () => {
    const [between, constant] = [b.alloc(32, "test"), filled(b, 10)];
    add(b, x, weight, between);
    add(b, between, constant, between);
    const copied = b.alloc(32, "test");
    runtime.copy(x, 0, copied, 0, 32);
    add(b, between, copied, out);
    for (const buffer of [between, constant, copied]) b.free(buffer);
  };
  const trial = recorder.record(work);
  const recorded = recorder.record(work, memory);
  assert(recorded.matches(trial));
  assert(!trial.bind([x, out]), "without memory of its own it is to compare with");
  assert(recorded.bind([x, out]));
  assert(memory.isIdle);
  assertEquals(await first(b, out), 112);

  // others may have what was free before; what is recorded keeps its places
  const others = Array.from({ length: 9 }, () => filled(b, -1));
  const [other, result] = [filled(b, 2), filled(b, 0)];
  recorded.replay([other, result]);
  recorded.replay([x, out]);
  assertEquals([await first(b, result), await first(b, out)], [114, 112]);
  for (const buffer of others) assertEquals(await first(b, buffer), -1);

  b.write(weight, 0, new Float32Array(8).fill(200)); // in place
  recorded.replay([other, result]);
  assertEquals(await first(b, result), 214);

  assert(recorded.isValid);
  const { plans } = runtime;
  runtime.plans = { ...plans };
  assert(!recorded.isValid, "kernels are planned otherwise");
  runtime.plans = plans;
  b.free(weight);
  b.alloc(32, "test"); // lent again, to somebody else
  assert(!recorded.isValid, "a buffer that it reads was freed");
});

gpuTest("work that reads back, or binds a buffer twice, is not to be replayed", async (b) => {
  const recorder = b.recorder!;
  const memory = recorder.newMemory();
  const [x, out] = [filled(b, 1), filled(b, 0)];
  let read: Promise<unknown> = Promise.resolve();
  const reading = recorder.record(() => {
    assert(!recorder.isReady);
    add(b, x, x, out);
    read = b.read(out, "f32", 0, 8);
  }, memory);
  await read;
  assert(!reading.bind([x, out]));
  const work = recorder.record(() => add(b, x, x, out), memory);
  assert(recorder.isReady);
  assert(!work.matches(reading) || work.bind([x, out]));
  assert(!recorder.record(() => add(b, x, x, out), memory).bind([x, x]));
});

gpuTest("memory of recordings goes back to the pool", (b) => {
  const recorder = b.recorder!;
  const memory = recorder.newMemory();
  let kept: DeviceBuffer | null = null;
  recorder.record(() => {
    b.free(b.alloc(1 << 20, "test"));
    kept = b.alloc(1 << 20, "test");
  }, memory);
  assert(!memory.isIdle);
  const { allocations } = b.memory();
  memory.dispose();
  b.free(kept!);
  b.alloc(1 << 20, "test");
  assertEquals(b.memory().allocations, allocations);
});

gpuTest("memory that a recording does not need at the moment is lent to others", (b) => {
  const recorder = b.recorder!;
  const memory = recorder.newMemory();
  const work = () => b.free(b.alloc(1 << 22, "test"));
  const recorded = recorder.record(work, memory);
  assert(recorded.bind([]) && recorded.isValid);
  const { allocations } = b.memory();
  memory.lock();
  b.free(b.alloc(1 << 21, "test"));
  assert(recorded.isValid);
  memory.unlock();
  b.free(b.alloc(1 << 21, "test"));
  assert(recorded.isValid, "there was a free block");
  const kept = b.alloc(1 << 22, "test");
  assert(!recorded.isValid);
  assertEquals(b.memory().allocations, allocations + 1);

  const again = recorder.record(work, memory);
  assert(again.bind([]) && again.isValid);
  b.free(kept);
});

gpuTest("memory of recordings is lent again when it has been of use", (b) => {
  const recorder = b.recorder!;
  const memory = recorder.newMemory();
  const take = () => b.alloc(1 << 22, "test");
  const borrow = () => b.free(take());
  recorder.record(borrow, memory);
  borrow(); // what was recorded
  const recorded = recorder.record(borrow, memory);
  assert(recorded.bind([]));
  borrow();
  assert(recorded.isValid, "recording and others would take it from each other for ever");
  memory.lock(); // as when it is replayed
  memory.unlock();
  const taken = [take(), take()];
  assert(!recorded.isValid);
  for (const buffer of taken) b.free(buffer);
});

gpuTest("memory that is given back while it is recorded in goes back to the pool", (b) => {
  const recorder = b.recorder!;
  const memory = recorder.newMemory();
  memory.dispose();
  const borrow = () => b.free(b.alloc(1 << 22, "test"));
  recorder.record(borrow, memory);
  const { allocations } = b.memory();
  borrow();
  assertEquals(b.memory().allocations, allocations);
});

Deno.test("what a launch at the end of a recording is packed in is set aside as well", async () => {
  const b = await createWebGpuBackend({}, new CountingGpu({ maxStorageBuffersPerShaderStage: 4 }));
  const matrix = (): View => {
    const buffer = b.alloc(8 * 8 * 4, "test");
    return { buffer, dtype: "f32", offset: 0, shape: [1, 1, 8, 8], strides: [0, 0, 8, 1] };
  };
  const [x, w, pre, out] = [matrix(), matrix(), matrix(), matrix()];
  const bias = { ...matrix(), shape: [8], strides: [1] };
  const work = () =>
    b.run("matmul", { a: x, b: w, bias, activation: "silu", pre, out, accumulate: false }, "test");
  const memory = b.recorder!.newMemory();
  const recorded = b.recorder!.record(work, memory);
  assert(recorded.bind([x.buffer, out.buffer]));
  for (let i = 9; i < 16; i++) b.alloc(2 ** i, "another");
  assert(recorded.isValid, "others were lent what it is packed in");
  await b.dispose();
});
