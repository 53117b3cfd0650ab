import { assertEquals, assertThrows } from "@std/assert";
import type { View } from "../../view.ts";
import type { DType } from "../../dtype.ts";
import { DeviceError } from "../../errors.ts";
import { program } from "../../expr.ts";
import type { WebGpuBackend } from "../backend.ts";
import { gpuTest } from "./device_test_util.ts";

const LENGTH = 37;

function array(b: WebGpuBackend, value: number, dtype: DType = "f32", offset = 0): View {
  const buffer = b.alloc(400, "test");
  b.write(buffer, 0, new Float32Array(100).fill(value));
  return { buffer, dtype, offset, shape: [LENGTH], strides: [1] };
}

function inputs(count: number): { kind: "input"; ty: "f32" }[] {
  return Array.from({ length: count }, () => ({ kind: "input", ty: "f32" }));
}

const sumOfNine = program("packingTest.sum", inputs(9), (...x) => {
  return x.slice(1).reduce((sum, v, i) => sum.add(v.mul(i + 2)), x[0]!);
});
/** Ten outputs, each of its own input. */
const tenTimes = program("packingTest.times", inputs(3), (a, b, c) => {
  return Array.from({ length: 10 }, (_, i) => a.mul(i + 1).add(b).sub(c));
});

async function first(b: WebGpuBackend, view: View): Promise<number[]> {
  return [...await b.read(view.buffer, "f32", 0, 100)];
}

const weakest = { limits: "default" } as const;

gpuTest("a kernel of more arrays than the GPU binds has some packed", async (b) => {
  const ins = Array.from({ length: 9 }, (_, i) => array(b, 2 ** i, "f32", i));
  const out = array(b, -1);
  b.run("elementwise", { program: sumOfNine, ins, outs: [out], scalars: [] }, "test");
  const want = Array.from({ length: 9 }, (_, i) => 2 ** i * (i + 1)).reduce((x, y) => x + y);
  const data = await first(b, out);
  assertEquals(data, data.map((_, i) => (i < LENGTH ? want : -1)));
  for (const [i, view] of ins.entries()) assertEquals((await first(b, view))[50], 2 ** i);
}, weakest);

gpuTest("packed arrays that are written come back, in place too", async (b) => {
  const [x, y, z] = [array(b, 1), array(b, 10), array(b, 100)] as const;
  // The last output is the first input.
  const outs = [...Array.from({ length: 9 }, (_, i) => array(b, -1, "f32", i)), x];
  b.run("elementwise", { program: tenTimes, ins: [x, y, z], outs, scalars: [] }, "test");
  for (const [i, out] of outs.entries()) {
    const data = await first(b, out);
    const rest = i < 9 ? -1 : 1;
    const inside = (at: number): boolean => at >= out.offset && at < out.offset + LENGTH;
    assertEquals(data, data.map((_, at) => (inside(at) ? i + 1 - 90 : rest)));
  }
}, weakest);

gpuTest("arrays too large to pack are worked on in chunks", async (b) => {
  const ins = Array.from({ length: 9 }, (_, i) => array(b, 2 ** i));
  const out = array(b, -1);
  b.run("elementwise", { program: sumOfNine, ins, outs: [out], scalars: [] }, "test");
  const want = Array.from({ length: 9 }, (_, i) => 2 ** i * (i + 1)).reduce((x, y) => x + y);
  assertEquals((await first(b, out)).slice(0, LENGTH + 1), [...Array(LENGTH).fill(want), -1]);
}, { ...weakest, maxBindingBytes: 512 });

gpuTest("more arrays than can be packed are refused with their number", (b) => {
  const views = Array.from({ length: 9 }, (_, i) => array(b, i, i % 2 ? "u32" : "f32"));
  const launch = (): void =>
    b.runtime.dispatch({
      op: "testOp",
      key: "packingTest.none",
      source: () => "@compute @workgroup_size(1) fn main() { }",
      views: views.map((view, i) => ({ name: `x${i}`, view, access: "read" })),
      workgroups: 1,
    });
  assertThrows(launch, DeviceError, "testOp: expected at most 8 arrays, or arrays of one type");
}, { ...weakest, maxBindingBytes: 256 });
