import { assert, assertEquals, assertThrows } from "@std/assert";
import { program } from "../expr.ts";
import { IndexError, OutOfMemoryError } from "../errors.ts";
import { createReferenceBackend } from "./backend.ts";
import { download, empty, upload } from "./testing_test_util.ts";

const copy = program("backend_test.copy", [{ kind: "input", ty: "f32" }], (x) => x);

Deno.test("alloc() and free() are counted", () => {
  const backend = createReferenceBackend();
  const buffer = backend.alloc(400, "test");
  backend.alloc(100, "test");
  assertEquals(backend.memory(), { reservedBytes: 500, allocations: 2 });
  backend.free(buffer);
  assertEquals(backend.memory(), { reservedBytes: 100, allocations: 2 });
  assertThrows(() => backend.free(buffer), Error, "freed twice");
  assertThrows(() => backend.write(buffer, 0, new Float32Array(1)), Error, "after it was freed");
});

Deno.test("what there is no memory for is said of the op that asks for it", () => {
  const backend = createReferenceBackend();
  const write = () => backend.write(backend.alloc(4e12, "zeros"), 0, new Float32Array(1));
  assertThrows(write, OutOfMemoryError, "zeros: expected 4000000000000 bytes of memory");
});

Deno.test("a buffer keeps the element type of its first use", () => {
  const backend = createReferenceBackend();
  const x = upload(backend, [2], [1, 2]);
  assertThrows(() => backend.write(x.buffer, 0, new Int32Array(2)), TypeError, "f32");
});

Deno.test("float64 values go in and out unrounded, and rounded where the array is f16", async () => {
  const backend = createReferenceBackend();
  const x = empty(backend, [1]);
  backend.write(x.buffer, 0, Float64Array.of(1 / 3));
  assertEquals(await download(backend, x), [1 / 3]);
  const half = upload(backend, [1], [0], "f16");
  backend.write(half.buffer, 0, Float64Array.of(1 / 3));
  assertEquals(await download(backend, half), [Math.f16round(1 / 3)]);
});

Deno.test("elements nothing was written to are NaN", async () => {
  const backend = createReferenceBackend();
  assertEquals(await download(backend, empty(backend, [2])), [NaN, NaN]);
});

Deno.test("run() refuses a view that leaves its buffer", () => {
  const backend = createReferenceBackend();
  const x = upload(backend, [2], [1, 2]);
  const ins = [{ ...x, offset: 1 }];
  assertThrows(
    () => backend.run("elementwise", { program: copy, ins, outs: [x], scalars: [] }, "myOp"),
    RangeError,
    "myOp",
  );
});

Deno.test("checkIndices() names the op, the index and the limit", () => {
  const backend = createReferenceBackend();
  backend.checkIndices(upload(backend, [3], [0, 4, 2], "i32"), 5, "embedding");
  for (const bad of [5, -1]) {
    const error = assertThrows(
      () => backend.checkIndices(upload(backend, [3], [0, bad, 2], "i32"), 5, "embedding"),
      IndexError,
    );
    for (const part of ["embedding", `got ${bad}`, "[0, 5)"]) assert(error.message.includes(part));
  }
});
