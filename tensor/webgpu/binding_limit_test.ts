/** Arrays wider than one binding; the limit is lowered so that small arrays show it. */
import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import type { DeviceBuffer, View } from "../view.ts";
import { DeviceError } from "../errors.ts";
import { elementIndex, program } from "../expr.ts";
import { contiguousStrides } from "../shape.ts";
import type { WebGpuBackend } from "./backend.ts";
import { gpuTest } from "./device/device_test_util.ts";

const f32 = { kind: "input", ty: "f32" } as const;
const small = { maxBindingBytes: 4096 };
const LENGTH = 5003;

function view(buffer: DeviceBuffer, shape: number[], offset = 0): View {
  return { buffer, dtype: "f32", offset, shape, strides: contiguousStrides(shape) };
}

/** 0, 1, 2, ... modulo 100. */
function counting(b: WebGpuBackend, length: number): DeviceBuffer {
  const buffer = b.alloc(length * 4, "test");
  b.write(buffer, 0, Float32Array.from({ length }, (_, i) => i % 100));
  return buffer;
}

gpuTest("elementwise kernels work through wide arrays in parts", async (b) => {
  const x = counting(b, LENGTH);
  const out = b.alloc(LENGTH * 4, "test");
  const addIndex = program(
    "partsTest.addIndex",
    [f32],
    (x) => x.mul(1000).add(elementIndex().to("f32")),
  );
  const args = { program: addIndex, ins: [view(x, [LENGTH])], outs: [view(out, [LENGTH])] };
  b.run("elementwise", { ...args, scalars: [] }, "test");
  const data = await b.read(out, "f32", 0, LENGTH);
  assert(data.every((v, i) => v === (i % 100) * 1000 + i));
}, small);

gpuTest("a small window of a wide array is bound alone", async (b) => {
  const x = counting(b, LENGTH);
  const negate = program("partsTest.negate", [f32], (x) => x.neg());
  // Two far ends of one buffer, the second written.
  const from = view(x, [100], 4700);
  b.run("elementwise", {
    program: negate,
    ins: [from],
    outs: [view(x, [100], 4803)],
    scalars: [],
  }, "test");
  const data = await b.read(x, "f32", 4800, 110);
  const want = Array.from(
    { length: 110 },
    (_, i) => i < 3 || i >= 103 ? i % 100 : -((i - 3) % 100),
  );
  assertEquals([...data].map((v) => v + 0), want.map((v) => v + 0));
}, small);

gpuTest("reductions of wide arrays are made of parts, along any axis", async (b) => {
  const x = counting(b, LENGTH);
  const itself = program("partsTest.itself", [f32], (x) => x);
  const total = Array.from({ length: LENGTH }, (_, i) => i % 100).reduce((a, c) => a + c);
  const out = b.alloc(LENGTH * 4, "test");
  const sum = (shape: number[], outShape: number[]): void =>
    b.run("reduce", {
      op: "sum",
      program: itself,
      ins: [view(x, shape)],
      scalars: [],
      out: view(out, outShape),
    }, "sum");
  sum([1, LENGTH, 1], [1, 1]);
  assertAlmostEquals((await b.read(out, "f32", 0, 1))[0]!, total, 0.5);
  sum([50, 100, 1], [50, 1]);
  assertEquals([...await b.read(out, "f32", 0, 50)], new Array(50).fill(4950));
  sum([1, 50, 100], [1, 100]);
  assertEquals(
    [...await b.read(out, "f32", 0, 100)],
    Array.from({ length: 100 }, (_, i) => 50 * i),
  );
}, small);

gpuTest("kernels that take arrays whole name the op and the bytes", (b) => {
  const [x, out] = [counting(b, LENGTH), b.alloc(LENGTH * 4, "test")];
  assertThrows(
    () =>
      b.run("cumsum", {
        x: view(x, [1, LENGTH, 1]),
        out: view(out, [1, LENGTH, 1]),
        reverse: false,
      }, "cumsum"),
    DeviceError,
    "cumsum: expected arrays within 4096 bytes",
  );
}, small);
