import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import type { DeviceBuffer, View } from "../../view.ts";
import { setDebug } from "../../debug.ts";
import type { DType } from "../../dtype.ts";
import { DeviceError, DeviceLostError, IndexError, OutOfMemoryError } from "../../errors.ts";
import { program } from "../../expr.ts";
import type { WebGpuBackend } from "../backend.ts";
import { gpuTest } from "./device_test_util.ts";

const f32 = { kind: "input", ty: "f32" } as const;
const plusOne = program("runtimeTest.plusOne", [f32], (x) => x.add(1));

function line(buffer: DeviceBuffer, length: number, offset = 0, dtype: DType = "f32"): View {
  return { buffer, dtype, offset, shape: [length], strides: [1] };
}

function increment(backend: WebGpuBackend, from: View, to: View): void {
  backend.run("elementwise", { program: plusOne, ins: [from], outs: [to], scalars: [] }, "add");
}

gpuTest("a grid of more workgroups than a dimension holds reaches each of them once", async (b) => {
  const groups = 2 * b.runtime.limits.maxComputeWorkgroupsPerDimension + 5;
  const counts = b.alloc(groups * 4, "test");
  b.write(counts, 0, new Uint32Array(groups));
  b.runtime.dispatch({
    op: "test",
    key: "runtimeTest.folded",
    source: () => `
@compute @workgroup_size(1) fn main(@builtin(workgroup_id) id: vec3u) {
  let group = linear_group(id);
  if (group >= params.grid_count) { return; }
  counts_store(group, counts_load(group) + 1u);
}`,
    views: [{ name: "counts", view: line(counts, groups, 0, "u32"), access: "readwrite" }],
    workgroups: groups,
  });
  const data = await b.read(counts, "u32", 0, groups);
  assert(data.every((count) => count === 1));
});

gpuTest("one buffer may be read and written in one kernel", async (b) => {
  const buffer = b.alloc(64, "test");
  b.write(buffer, 0, new Float32Array(16).fill(1));
  increment(b, line(buffer, 5, 1), line(buffer, 5, 9));
  increment(b, line(buffer, 16), line(buffer, 16));
  const data = await b.read(buffer, "f32", 0, 16);
  assertEquals([...data], [2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 2, 2]);
});

gpuTest("a warmed-up loop makes no buffers, pipelines or bind groups", async (b) => {
  const kept = b.alloc(1000, "test");
  let round = 0;
  const step = (): void => {
    const one = b.alloc(1000, "test");
    const two = b.alloc(1000, "test");
    increment(b, line(kept, 250), line(one, 250));
    increment(b, line(one, 250), line(two, 250));
    increment(b, line(two, 250), line(kept, 250));
    // In turns, since a step's tensors are not freed in the order they were made.
    for (const buffer of round++ % 2 ? [one, two] : [two, one]) b.free(buffer);
  };
  b.write(kept, 0, new Float32Array(250));
  step();
  const warm = b.runtime.stats;
  for (let i = 0; i < 9; i++) step();
  const { buffers, pipelines, bindGroups, dispatches } = b.runtime.stats;
  assertEquals({ buffers, pipelines, bindGroups }, {
    buffers: warm.buffers,
    pipelines: warm.pipelines,
    bindGroups: warm.bindGroups,
  });
  assertEquals(dispatches, warm.dispatches + 27);
  assertEquals((await b.read(kept, "f32", 249, 1))[0], 30);
});

gpuTest("more launches than a batch holds run in order", async (b) => {
  const buffer = b.alloc(16, "test");
  b.write(buffer, 0, new Float32Array(4));
  for (let i = 0; i < 2500; i++) increment(b, line(buffer, 4), line(buffer, 4));
  assertEquals([...await b.read(buffer, "f32", 0, 4)], [2500, 2500, 2500, 2500]);
  assert(b.runtime.stats.submits >= 3);
});

gpuTest(
  "freed buffers beyond the cap go back to the system, cached bind groups with them",
  async (b) => {
    const big = 1 << 16;
    for (let i = 0; i < 8; i++) {
      const from = b.alloc(big + i * 16384, "test");
      increment(b, line(from, 4), line(from, 4));
      b.free(from);
    }
    await b.sync();
    // Only one buffer was ever in use at a time.
    assert(b.memory().reservedBytes <= 3 * (big + 8 * 16384), `${b.memory().reservedBytes}`);
    const again = b.alloc(big, "test");
    b.write(again, 0, Float32Array.of(1, 2, 3, 4));
    increment(b, line(again, 4), line(again, 4));
    assertEquals([...await b.read(again, "f32", 0, 4)], [2, 3, 4, 5]);
  },
  { freeBytesCap: 0 },
);

gpuTest("an allocation over the limit is refused by name", (b) => {
  assertThrows(() => b.alloc(2 ** 50, "zeros"), OutOfMemoryError, "zeros: expected at most");
  assertThrows(() => b.alloc(NaN, "zeros"), OutOfMemoryError);
});

gpuTest("a shader that does not compile is reported by the next read", async (b) => {
  const view = line(b.alloc(4, "test"), 1);
  b.runtime.dispatch({
    op: "brokenOp",
    key: "runtimeTest.broken",
    source: () => "@compute @workgroup_size(1) fn main() { x_store(0u, nothing); }",
    views: [{ name: "x", view, access: "write" }],
    workgroups: 1,
  });
  await assertRejects(() => b.sync(), DeviceError, "brokenOp");
  // The device still works.
  b.write(view.buffer, 0, Float32Array.of(7));
  assertEquals((await b.read(view.buffer, "f32", 0, 1))[0], 7);
});

gpuTest("debug mode finds a key that stands for two shaders", async (b) => {
  const view = line(b.alloc(4, "test"), 1);
  const store = (value: string, u32 = {}) =>
    b.runtime.dispatch({
      op: "testOp",
      key: "runtimeTest.two",
      source: () => `@compute @workgroup_size(1) fn main() { x_store(0u, ${value}); }`,
      views: [{ name: "x", view, access: "write" }],
      u32,
      workgroups: 1,
    });
  setDebug(true);
  try {
    store("1.0");
    store("1.0");
    const message = 'testOp: expected one code for the key "runtimeTest.two" but got two';
    assertThrows(() => store("2.0"), DeviceError, message);
    assertThrows(() => store("1.0", { n: 1 }), DeviceError, message);
  } finally {
    setDebug(false);
  }
  assertEquals([...await b.read(view.buffer, "f32", 0, 1)], [1]);
});

gpuTest("every call after the device is lost says why", async (b) => {
  const buffer = b.alloc(16, "test");
  assert(!b.isLost);
  b.runtime.device.destroy();
  await b.runtime.device.lost;
  assert(b.isLost);
  await assertRejects(() => b.read(buffer, "f32", 0, 4), DeviceLostError, "destroyed");
  assertThrows(() => b.alloc(4, "zeros"), DeviceLostError, "zeros");
  assertThrows(() => increment(b, line(buffer, 4), line(buffer, 4)), DeviceLostError, "add");
  assertThrows(() => b.write(buffer, 0, new Float32Array(1)), DeviceLostError);
  await assertRejects(() => b.sync(), DeviceLostError);
});

gpuTest("a device that was disposed says so", async (b) => {
  const buffer = b.alloc(16, "test");
  await b.dispose();
  assertThrows(() => b.write(buffer, 0, new Float32Array(1)), DeviceLostError, "disposed");
});

gpuTest("a bad index is reported by the next read, once, with op, limit and place", async (b) => {
  const index = b.alloc(400 * 4, "test");
  const indices = new Int32Array(400);
  b.write(index, 0, indices);
  b.checkIndices(line(index, 400, 0, "i32"), 1, "embedding");
  await b.sync();

  indices[301] = 5;
  indices[300] = -3;
  b.write(index, 0, indices);
  b.checkIndices(line(index, 400, 0, "i32"), 5, "embedding");
  b.checkIndices(line(index, 400, 0, "i32"), 4, "gather");
  await assertRejects(
    () => b.read(index, "i32", 0, 1),
    IndexError,
    "embedding: expected indices in [0, 5) but got -3 at position 300",
  );
  await b.sync();
});

gpuTest("a lookup of a bad index touches nothing and gives zeros", async (b) => {
  const table = b.alloc(4 * 4, "test");
  const index = b.alloc(3 * 4, "test");
  const out = b.alloc(6 * 4, "test");
  b.write(table, 0, Float32Array.of(1, 2, 3, 4));
  b.write(index, 0, Int32Array.of(1, -1, 2));
  const matrix = (buffer: DeviceBuffer, rows: number): View => ({
    buffer,
    dtype: "f32",
    offset: 0,
    shape: [rows, 2],
    strides: [2, 1],
  });
  b.run("gather", {
    table: matrix(table, 2),
    index: line(index, 3, 0, "i32"),
    out: matrix(out, 3),
  }, "embedding");
  assertEquals([...await b.read(out, "f32", 0, 6)], [3, 4, 0, 0, 0, 0]);
});

gpuTest("profile() names the launches and their time on the GPU", async (b) => {
  if (!b.runtime.device.features.has("timestamp-query")) {
    await assertRejects(() => b.runtime.profile(() => {}), DeviceError, "timestamps");
    return;
  }
  const buffer = b.alloc(4000, "test");
  b.write(buffer, 0, new Float32Array(1000));
  const rows = await b.runtime.profile(() => {
    for (let i = 0; i < 2100; i++) increment(b, line(buffer, 1000), line(buffer, 1000));
  });
  assertEquals(rows.map(({ op, launches }) => ({ op, launches })), [{ op: "add", launches: 2100 }]);
  assert(
    rows[0]!.milliseconds > 0 && rows[0]!.kernel.startsWith("elementwise runtimeTest.plusOne"),
  );
  increment(b, line(buffer, 1000), line(buffer, 1000));
  assertEquals((await b.read(buffer, "f32", 999, 1))[0], 2101);
});
