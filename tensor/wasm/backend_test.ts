import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { KERNEL_NAMES } from "../kernels.ts";
import type { View } from "../view.ts";
import { conformanceCases, runConformance } from "../conformance/suite.ts";
import { setDebug } from "../debug.ts";
import { program } from "../expr.ts";
import { DeviceError, IndexError, OutOfMemoryError, UseAfterFreeError } from "../errors.ts";
import { createWasmBackend, type WasmBackend, type WasmOptions } from "./backend.ts";
import { hasHalfInstructions } from "./device/tier.ts";

setDebug(true); // kernels that are found by a key are compared with what would be compiled

async function withBackend(
  threads: number,
  use: (backend: WasmBackend) => Promise<void> | void,
  options: WasmOptions = {},
  target: Parameters<typeof createWasmBackend>[1] = {},
) {
  const backend = await createWasmBackend({ threads, ...options }, target);
  try {
    await use(backend);
  } finally {
    await backend.dispose();
  }
}

for (const kernel of KERNEL_NAMES) {
  Deno.test(`${kernel} agrees with the reference`, () =>
    withBackend(2, async (backend) => {
      const { halfKernels } = backend;
      const failures: string[] = [];
      for (const test of conformanceCases({ kernel, halfKernels })) {
        await runConformance(backend, test).catch((error) => failures.push(String(error)));
      }
      assertEquals(failures, []);
    }));
}

/** As runtimes have it that lack what V8 has: Bun, and Safari, and pages that are not isolated. */
const LESSER = {
  "addresses have 32 bits": { target: {}, options: { threads: 2, addressBits: 32 } },
  "nothing is shared or relaxed": {
    target: { shared: false, relaxed: false },
    options: { threads: 1 },
  },
} as const;

for (const [where, { target, options }] of Object.entries(LESSER)) {
  Deno.test(`kernels agree with the reference where ${where}`, () =>
    withBackend(
      options.threads,
      async (backend) => {
        assertEquals(backend.maxBytes, "addressBits" in options ? 2 ** 32 : 2 ** 34);
        const { halfKernels } = backend;
        const failures: string[] = [];
        for (const test of conformanceCases({ maxCost: 20_000, halfKernels })) {
          await runConformance(backend, test).catch((error) => failures.push(String(error)));
        }
        assertEquals(failures, []);
      },
      options,
      target,
    ));
}

function vector(backend: WasmBackend, data: Float32Array<ArrayBuffer>): View {
  const buffer = backend.alloc(data.byteLength, "test");
  backend.write(buffer, 0, data);
  return { buffer, dtype: "f32", offset: 0, shape: [data.length], strides: [1] };
}

Deno.test("read() gives back what write() put, at any offset and of any type", () =>
  withBackend(1, async (backend) => {
    const buffer = backend.alloc(64, "test");
    backend.write(buffer, 0, new Float32Array(16).fill(1));
    backend.write(buffer, 3, new Float32Array([2, 3]));
    backend.write(buffer, 5, new Float64Array([0.1]));
    assertEquals(
      await backend.read(buffer, "f32", 2, 5),
      new Float32Array([1, 2, 3, 0.1, 1]),
    );
    backend.write(buffer, 1, new Uint8Array([255]));
    assertEquals(await backend.read(buffer, "u8", 0, 3), new Uint8Array([0, 255, 128]));
    backend.write(buffer, 1, new Float16Array([0.5]));
    assertEquals(await backend.read(buffer, "f16", 1, 1), new Float16Array([0.5]));
    assertThrows(() => backend.write(buffer, 15, new Float32Array(2)), RangeError, "leave");
  }));

Deno.test("memory beyond 4 GiB is reached by host and kernels alike", () =>
  withBackend(2, async (backend) => {
    // Only what is touched becomes real.
    const low = backend.alloc(4.5 * 2 ** 30, "test");
    const a = vector(backend, Float32Array.from({ length: 100_000 }, (_, i) => i));
    const double = program("test.double", [{ kind: "input", ty: "f32" }], (x) => x.mul(2));
    backend.run("elementwise", { program: double, ins: [a], outs: [a], scalars: [] }, "test");
    const data = await backend.read(a.buffer, "f32", 99_998, 2);
    assertEquals([...data], [199_996, 199_998]);
    backend.free(low);
  }));

Deno.test("a view outside its buffer never reaches a kernel", () =>
  withBackend(1, (backend) => {
    const a = vector(backend, new Float32Array(8));
    const copy = program("test.copy", [{ kind: "input", ty: "f32" }], (x) => x);
    const run = (input: View, out: View) => () =>
      backend.run("elementwise", { program: copy, ins: [input], outs: [out], scalars: [] }, "relu");
    assertThrows(run({ ...a, offset: 1 }, a), RangeError, "relu");
    assertThrows(run(a, { ...a, strides: [2] }), RangeError, "relu");
    assertThrows(run({ ...a, offset: 8, strides: [-1] }, a), RangeError, "relu");
    backend.free(a.buffer);
    assertThrows(run(a, a), UseAfterFreeError);
  }));

Deno.test("checkIndices() names the index that is out of range", () =>
  withBackend(1, (backend) => {
    const buffer = backend.alloc(16, "test");
    backend.write(buffer, 0, new Int32Array([0, 4, 2, -1]));
    const index: View = { buffer, dtype: "i32", offset: 0, shape: [3], strides: [1] };
    backend.checkIndices(index, 5, "embedding");
    assertThrows(
      () => backend.checkIndices(index, 4, "embedding"),
      IndexError,
      "embedding: expected indices in [0, 4) but got 4",
    );
    assertThrows(
      () => backend.checkIndices({ ...index, offset: 1 }, 5, "embedding"),
      IndexError,
      "got -1",
    );
    assertThrows(
      () => backend.checkIndices({ ...index, dtype: "u32", offset: 1 }, 5, "embedding"),
      IndexError,
      "got 4294967295",
    );
  }));

Deno.test("what cannot be had is an error that says so", () =>
  withBackend(1, async (backend) => {
    assertThrows(() => backend.alloc(2 ** 35, "matmul"), OutOfMemoryError, "matmul");
    if (!hasHalfInstructions()) {
      await assertRejects(() => createWasmBackend({ tier: "fast" }), DeviceError, "DENO_V8_FLAGS");
    }
  }));

Deno.test(
  "results do not depend on the number of threads, bit for bit",
  () =>
    withBackend(1, async (backend) => {
      const { halfKernels } = backend;
      const n = 300_001;
      const x = vector(backend, Float32Array.from({ length: n }, (_, i) => Math.sin(i * i)));
      const out = vector(backend, new Float32Array(n));
      const input = { kind: "input", ty: "f32" } as const;
      const wave = program("test.wave", [input], (v) => v.mul(30).sin().exp());
      const results: Uint32Array[] = [];
      for (const threads of [1, 2, 3]) {
        await backend.setThreads(threads);
        backend.run("elementwise", { program: wave, ins: [x], outs: [out], scalars: [] }, "test");
        const waves = await backend.read(out.buffer, "f32", 0, n);
        const sums: number[] = [];
        for (const [O, R, I] of [[1, n, 1], [3, 100_000, 1], [1, 1000, 300], [500, 2, 300]]) {
          const view: View = { ...x, shape: [O!, R!, I!], strides: [R! * I!, I!, 1] };
          const to: View = { ...out, shape: [O!, I!], strides: [I!, 1] };
          const args = { op: "sum", program: wave, ins: [view], scalars: [], out: to } as const;
          backend.run("reduce", { ...args, ins: [...args.ins], scalars: [] }, "test");
          const rows = await backend.read(out.buffer, "f32", 0, Math.min(O! * I!, 1000));
          sums.push(...rows);
        }
        results.push(new Uint32Array(Float32Array.of(...sums, ...waves.subarray(0, 1000)).buffer));
      }
      assertEquals(results[1], results[0]);
      assertEquals(results[2], results[0]);
      assert(halfKernels.has("elementwise"));
    }),
);
