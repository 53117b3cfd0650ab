import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import type { View } from "../../view.ts";
import { setDebug } from "../../debug.ts";
import { DeviceError, UseAfterFreeError } from "../../errors.ts";
import {
  claimChunks,
  kernel,
  scratchI64,
  slotF32x4,
  slotI32,
  slotI64,
  THREAD_PARAM,
  THREADS_PARAM,
} from "../emit/abi.ts";
import { type Func, Module } from "../emit/assembler.ts";
import { WasmRuntime } from "./runtime.ts";

/** A loaded kernel made of one function. */
function kernelOf(runtime: WasmRuntime, key: string, emit: (f: Func) => void) {
  return runtime.load(key, () => {
    const module = new Module();
    emit(module.add(kernel("run")));
    return module;
  })("run");
}

/** `out[chunk] = thread + 1` for every chunk. */
function whoRan(f: Func): void {
  const out = slotI64(f, 0), chunks = slotI32(f, 1);
  claimChunks(f, chunks, (chunk) => {
    f.get(out).get(chunk).i64("extend_i32_u").i64const(4).i64("mul").i64("add");
    f.get(THREAD_PARAM).i32const(1).i32("add").mem("i32.store");
  });
}

function ints(runtime: WasmRuntime, address: number, length: number): Int32Array {
  return new Int32Array(runtime.bytesAt(address, length * 4).slice().buffer);
}

Deno.test("a launch hands its slots over as every type", async () => {
  const runtime = new WasmRuntime();
  const out = runtime.alloc(64, "test");
  const run = kernelOf(runtime, "slots", (f) => {
    const to = slotI64(f, 0);
    f.get(to).get(slotI32(f, 1)).mem("i32.store", 0);
    f.get(to).get(slotF32x4(f, 2)).vmem("store", 16);
    f.get(to).get(slotI64(f, 3)).mem("i64.store", 8);
  });
  runtime.launch(run, [out.address, -7, 0.1, 2 ** 50]);
  const bytes = runtime.bytesAt(out.address, 64).slice().buffer;
  assertEquals(new Int32Array(bytes)[0], -7);
  assertEquals(new BigInt64Array(bytes)[1], BigInt(2 ** 50));
  assertEquals(new Float32Array(bytes).slice(4, 8), new Float32Array(4).fill(0.1));
  await runtime.dispose();
});

Deno.test("every chunk is claimed once, whatever the number of threads", async () => {
  const runtime = new WasmRuntime();
  const run = kernelOf(runtime, "chunks", whoRan);
  const out = runtime.alloc(4000, "test");
  for (const threads of [1, 3, 2, 1, 4]) {
    await runtime.setThreads(threads);
    assertEquals(runtime.threads, threads);
    for (let round = 0; round < 20; round++) {
      runtime.bytesAt(out.address, 4000).fill(0);
      runtime.launch(run, [out.address, 1000]);
      assert(ints(runtime, out.address, 1000).every((who) => who >= 1 && who <= threads));
    }
  }
  await runtime.dispose();
});

Deno.test(
  "workers learn modules that were loaded while they slept, and after growth",
  async () => {
    const runtime = new WasmRuntime();
    await runtime.setThreads(3);
    for (let i = 0; i < 5; i++) {
      const out = runtime.alloc(3 << 22, "test");
      // Each thread writes its own mark, so all of them must have the module and the memory.
      const run = kernelOf(runtime, `marks ${i}`, (f) => {
        f.get(slotI64(f, 0)).get(THREAD_PARAM).i64("extend_i32_u").i64const(1 << 22).i64("mul");
        f.i64("add").get(THREADS_PARAM).i32const(100 * i).i32("add").mem("i32.store");
      });
      runtime.launch(run, [out.address]);
      for (let thread = 0; thread < 3; thread++) {
        assertEquals(ints(runtime, out.address + thread * (1 << 22), 1)[0], 100 * i + 3);
      }
    }
    await runtime.dispose();
  },
);

Deno.test("each thread has scratch memory of its own", async () => {
  const runtime = new WasmRuntime();
  await runtime.setThreads(2);
  const out = runtime.alloc(64, "test");
  const run = kernelOf(runtime, "scratch", (f) => {
    f.get(slotI64(f, 0)).get(THREAD_PARAM).i64("extend_i32_u").i64const(8).i64("mul").i64("add");
    f.get(scratchI64(f)).mem("i64.store");
  });
  for (const bytes of [100, 100_000, 5_000_000]) {
    runtime.launch(run, [out.address], { scratchBytes: bytes });
    const [a, b] = new BigInt64Array(runtime.bytesAt(out.address, 16).slice().buffer);
    assert(Number(b! - a!) >= bytes);
    assertEquals(Number(a) % 128, 0);
    assertEquals(Number(b) % 128, 0);
  }
  await runtime.dispose();
});

Deno.test(
  "a trap in any thread is an error of the launch, and the next launch works",
  async () => {
    const runtime = new WasmRuntime();
    await runtime.setThreads(2);
    const out = runtime.alloc(64, "test");
    const trap = kernelOf(runtime, "trap", (f) => {
      f.get(THREAD_PARAM).get(slotI32(f, 0)).i32("eq").if(() => f.unreachable());
    });
    assertThrows(() => runtime.launch(trap, [0]), WebAssembly.RuntimeError, "unreachable");
    assertThrows(() => runtime.launch(trap, [1]), DeviceError, "in thread 1: RuntimeError");
    runtime.launch(trap, [2]);
    runtime.launch(kernelOf(runtime, "chunks", whoRan), [out.address, 10]);
    await runtime.dispose();
  },
);

Deno.test("threads that stay can be called while others end", async () => {
  const runtime = new WasmRuntime();
  await runtime.setThreads(3);
  const out = runtime.alloc(64, "test");
  const run = kernelOf(runtime, "marks", (f) => {
    f.get(slotI64(f, 0)).get(THREAD_PARAM).i64("extend_i32_u").i64const(4).i64("mul").i64("add");
    f.i32const(7).mem("i32.store");
  });
  const ended = runtime.setThreads(2);
  for (let round = 0; round < 3; round++) {
    runtime.bytesAt(out.address, 8).fill(0);
    runtime.launch(run, [out.address]);
    assertEquals([...ints(runtime, out.address, 2)], [7, 7]);
  }
  await ended;
  runtime.launch(run, [out.address]);
  await runtime.dispose();
});

Deno.test("setThreads() refuses what is no number of threads", async () => {
  const runtime = new WasmRuntime();
  await assertRejects(() => runtime.setThreads(0), DeviceError, "from 1 to 256");
  await assertRejects(() => runtime.setThreads(1.5), DeviceError);
  await runtime.dispose();
});

Deno.test("address() refuses views beyond their buffer and freed buffers", async () => {
  const runtime = new WasmRuntime();
  const buffer = runtime.alloc(64, "test");
  const view: View = { buffer, dtype: "f32", offset: 4, shape: [3, 4], strides: [4, 1] };
  assertEquals(runtime.address(view), buffer.address + 16);
  assertThrows(() => runtime.address({ ...view, offset: 5 }), RangeError, "leaves its buffer");
  assertThrows(() => runtime.address({ ...view, offset: -1 }), RangeError);
  runtime.free(buffer);
  assertThrows(() => runtime.address(view), UseAfterFreeError, "freed");
  assertThrows(() => runtime.free(buffer), UseAfterFreeError, "freed");
  await runtime.dispose();
});

Deno.test("load() builds a module once and names kernels that are missing", async () => {
  const runtime = new WasmRuntime();
  let built = 0;
  const build = () => {
    built++;
    const module = new Module();
    module.add(kernel("run"));
    return module;
  };
  const first = runtime.load("once", build)("run");
  assert(runtime.load("once", build)("run") === first);
  assertEquals(built, 1);
  assertThrows(() => runtime.load("once", build)("walk"), DeviceError, "no kernel walk");
  await runtime.dispose();
});

Deno.test("load() in debug mode finds a key that stands for two codes", async () => {
  const runtime = new WasmRuntime();
  const emit = (value: number) => (f: Func) => void f.i32const(value).drop();
  setDebug(true);
  try {
    kernelOf(runtime, "same", emit(1));
    kernelOf(runtime, "same", emit(1));
    assertThrows(
      () => kernelOf(runtime, "same", emit(2)),
      DeviceError,
      'wasm: expected one code for the key "same" but got two',
    );
  } finally {
    setDebug(false);
    await runtime.dispose();
  }
});
