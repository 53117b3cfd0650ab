import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { tensor } from "./create.ts";
import { init, memory } from "./device.ts";
import { OutOfMemoryError, UseAfterFreeError } from "./errors.ts";
import { setDebug } from "./debug.ts";
import { scope } from "./scope.ts";
import { eachDevice } from "../tests/devices.ts";

const DEVICES = ["reference", "wasm", "webgpu"] as const;

eachDevice("data() reads strided, repeated and offset views row-major", async () => {
  using _ = scope();
  const x = tensor([0, 1, 2, 3, 4, 5], [2, 3]);
  const read = async (...view: Parameters<typeof x.as>) => Array.from(await x.as(...view).data());
  assertEquals(await read([3, 2], [1, 3]), [0, 3, 1, 4, 2, 5]);
  assertEquals(await read([2, 2], [0, 2], 1), [1, 3, 1, 3]);
  assertEquals(await read([], [], 5), [5]);
  assertEquals(await read([0, 3], [3, 1]), []);
  assertEquals(await read([2, 2, 2], [2, 1, 1]), [0, 1, 1, 2, 2, 3, 3, 4]);
}, DEVICES);

eachDevice("item() gives the one element, and refuses more", async () => {
  using _ = scope();
  assertEquals(await tensor([7], [1, 1, 1]).item(), 7);
  assertEquals(await tensor([3], [], { dtype: "u8" }).item(), 3);
  const two = tensor([1, 2]);
  await assertRejects(() => two.item(), RangeError, "item: expected one element but got shape [2]");
}, DEVICES);

Deno.test("a tensor says what it is", async () => {
  await init({ device: "reference" });
  using _ = scope();
  const t = tensor([1, 2, 3, 4], [2, 2], { dtype: "f16" });
  assertEquals([t.size, t.rank, t.bytes, t.dtype, t.contiguous], [4, 2, 8, "f16", true]);
  assertEquals(t.toString(), "Tensor(f16[2, 2] on reference)");
  assertEquals(t.as([2, 2], [1, 2]).contiguous, false);
  t.dispose();
  assertEquals([t.disposed, t.toString()], [true, "Tensor(freed [2, 2])"]);
});

Deno.test("a tensor used after it was freed names the op and its shape", async () => {
  await init({ device: "reference" });
  const t = tensor([1, 2]);
  t.dispose();
  const message = "a tensor of shape [2] was used after it was freed";
  assertThrows(() => t.view("add"), UseAfterFreeError, `add: ${message}`);
  assertThrows(() => t.checkLive("mul"), UseAfterFreeError, `mul: ${message}`);
  assertThrows(() => t.storage, UseAfterFreeError, message);
  assertThrows(() => t.dtype, UseAfterFreeError, message);
  assertThrows(() => t.as([1], [1]), UseAfterFreeError, message);
  await assertRejects(() => t.data(), UseAfterFreeError, `data: ${message}`);
  await assertRejects(() => t.item(), UseAfterFreeError, message);
});

Deno.test("a view that leaves its storage is refused before a kernel sees it", async () => {
  await init({ device: "reference" });
  using _ = scope();
  const t = tensor([1, 2, 3]);
  for (const wrong of [t.as([4], [1]), t.as([2], [2], 1), t.as([2], [-1], 2)]) {
    assertThrows(() => wrong.view("add"), RangeError, "add: ");
  }
});

eachDevice("a view too vast for the host is refused by name", async () => {
  using _ = scope();
  const vast = tensor([1]).as([2 ** 20, 2 ** 20], [0, 0]);
  await assertRejects(
    () => vast.data(),
    OutOfMemoryError,
    "data: expected memory for the elements of",
  );
}, DEVICES);

Deno.test("in debug mode a tensor that was freed is not reported as a leak", async () => {
  const device = await init({ device: "reference" });
  setDebug(true);
  try {
    tensor([1]).dispose();
  } finally {
    setDebug(false);
  }
  assert(memory(device).tensors === 0);
});
