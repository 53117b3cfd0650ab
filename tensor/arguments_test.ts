import { assertEquals, assertThrows } from "@std/assert";
import { arraysOf, checkArguments, overlap } from "./arguments.ts";
import { KERNEL_NAMES, KERNELS } from "./kernels.ts";
import type { DeviceBuffer, View } from "./view.ts";
import { type DType, DTYPE_BYTES } from "./dtype.ts";
import { program } from "./expr.ts";
import { contiguousStrides } from "./shape.ts";
import { numbers } from "../tests/numbers.ts";

const buffer: DeviceBuffer = { bytes: 4096 };

function view(shape: readonly number[], rest: Partial<View> = {}): View {
  return { buffer, dtype: "f32", offset: 0, shape, strides: contiguousStrides(shape), ...rest };
}

/** A view of a buffer of its own. */
function apart(shape: readonly number[]): View {
  return view(shape, { buffer: { bytes: 4096 } });
}

/** The bytes of a view, one by one. */
function bytesOf({ dtype, offset, shape, strides }: View): Set<number> {
  let places = [offset];
  shape.forEach((n, d) => {
    places = places.flatMap((p) => Array.from({ length: n }, (_, i) => p + i * strides[d]!));
  });
  const size = DTYPE_BYTES[dtype];
  return new Set(places.flatMap((p) => Array.from({ length: size }, (_, i) => p * size + i)));
}

Deno.test("overlap() agrees with a look at every byte", () => {
  const next = numbers(1);
  const below = (n: number) => Math.floor(next() * n);
  const random = (): View => {
    const rank = below(4);
    const dtypes: DType[] = ["f32", "f32", "f16", "u8"];
    const dims = Array.from({ length: rank }, () => [1 + below(4), below(12)] as const);
    return view(dims.map(([n]) => n), {
      dtype: dtypes[below(4)]!,
      offset: below(24),
      strides: dims.map(([, s]) => s),
    });
  };
  const counts = { apart: 0, shared: 0 };
  for (let i = 0; i < 3000; i++) {
    const [a, b] = [random(), random()];
    const want = !bytesOf(a).isDisjointFrom(bytesOf(b));
    assertEquals(overlap(a, b), want, JSON.stringify([a, b]));
    counts[want ? "shared" : "apart"]++;
  }
  assertEquals(Math.min(counts.apart, counts.shared) > 500, true);
});

Deno.test("overlap() knows interleaved heads, columns and other buffers apart", () => {
  const qkv = { strides: [3 * 64, 3 * 8, 1] }; // [tokens, 3, heads, depth] as [tokens, heads, depth]
  assertEquals(overlap(view([5, 8, 8], qkv), view([5, 8, 8], { ...qkv, offset: 8 })), false);
  assertEquals(overlap(view([5, 8, 8], qkv), view([5, 8, 8], { ...qkv, offset: 7 })), true);
  const column = { strides: [10, 1] };
  assertEquals(overlap(view([9, 4], column), view([9, 6], { ...column, offset: 4 })), false);
  assertEquals(overlap(view([9, 4], column), view([9, 6], { ...column, offset: 3 })), true);
  assertEquals(overlap(view([4]), apart([4])), false);
  assertEquals(overlap(view([0]), view([4])), false);
});

Deno.test("checkArguments() lets no kernel write what else it is given", () => {
  const softmax = (x: View, out: View) => () =>
    checkArguments("softmax", { x, out, log: false }, "op");
  softmax(view([2, 3]), view([2, 3], { offset: 6 }))();
  softmax(view([2, 3]), apart([2, 3]))();
  assertThrows(
    softmax(view([2, 3]), view([2, 3])),
    RangeError,
    'op: expected softmax to write "out" apart from "x" but they share memory',
  );
  assertThrows(softmax(view([2, 3]), view([2, 3], { offset: 5 })), RangeError, "share memory");
  assertThrows(softmax(view([2, 3]), view([2, 3], { offset: 1020 })), RangeError, "inside its");
  const plain = { weight: null, bias: null, scale: null, shift: null };
  const norm = { x: apart([1, 2, 3]), ...plain, eps: 0, centred: true };
  const statistics = { mean: view([1, 2]), rstd: view([1, 2], { offset: 1 }) };
  assertThrows(
    () => checkArguments("layerNorm", { ...norm, out: apart([1, 2, 3]), ...statistics }, "op"),
    RangeError,
    '"mean" apart from "rstd"',
  );
});

Deno.test("checkArguments() lets elementwise kernels update in place, the same view only", () => {
  const add = program(
    "add",
    [0, 1].map(() => ({ kind: "input", ty: "f32" })),
    (a, b) => a!.add(b!),
  );
  const run = (a: View, b: View, out: View) => () =>
    checkArguments("elementwise", { program: add, ins: [a, b], outs: [out], scalars: [] }, "op");
  const x = view([4, 1, 4]);
  run(x, apart([4, 1, 4]), view([4, 1, 4]))();
  run(x, x, view([4, 1, 4], { strides: [4, 99, 1] }))(); // a dimension of 1 is not stepped along
  const transposed = view([4, 1, 4], { strides: [1, 4, 4] });
  const repeated = view([4, 1, 4], { strides: [0, 0, 1] });
  for (const b of [transposed, repeated, view([4, 1, 4], { offset: 1 })]) {
    assertThrows(run(x, b, x), RangeError, 'write "outs" apart from "ins"');
  }
});

Deno.test("every kernel's arrays can be listed and some are written", () => {
  for (const kernel of KERNEL_NAMES) {
    const { arrays, cut } = KERNELS[kernel];
    const uses: string[] = Object.values(arrays);
    assertEquals(uses.some((use) => use !== "read"), true, kernel);
    for (const names of cut as readonly string[][]) {
      assertEquals(names.filter((name) => !(name in arrays)), [], kernel);
      assertEquals(new Set(names).size, names.length, kernel);
    }
  }
  const [g, out, index] = [apart([2, 3]), apart([4, 3]), apart([2])];
  assertEquals(arraysOf("scatterAdd", { g, index, out }), [
    { name: "out", use: "write", view: out },
    { name: "g", use: "read", view: g },
    { name: "index", use: "read", view: index },
  ]);
});
