import { assertEquals, assertThrows } from "@std/assert";
import { tensor } from "./create.ts";
import { init, memory, resetPeak } from "./device.ts";
import { UseAfterFreeError } from "./errors.ts";
import { eachDevice } from "../tests/devices.ts";
import { MemoryLedger, Storage } from "./storage.ts";

const reference = await init({ device: "reference" });

eachDevice("views share one storage, which goes with the last of them", async (device) => {
  const before = memory(device);
  const whole = tensor([1, 2, 3, 4, 5, 6], [2, 3]);
  const row = whole.as([3], [1], 3);
  const column = row.as([1], [1], row.offset + 1);
  const during = memory(device);
  assertEquals(during.tensors - before.tensors, 3);
  assertEquals(during.storages - before.storages, 1);
  assertEquals(during.liveBytes - before.liveBytes, 24);
  assertEquals(whole.storage.exclusive, false);
  whole.dispose();
  row.dispose();
  assertEquals(column.storage.exclusive, true);
  assertEquals(Array.from(await column.data()), [5]);
  column.dispose();
  assertEquals(memory(device).liveBytes, before.liveBytes);
}, ["reference", "wasm", "webgpu"]);

eachDevice("a read outlives the tensor it reads", async (device) => {
  const before = memory(device).liveBytes;
  const t = tensor([1, 2, 3]);
  const read = t.data();
  t.dispose();
  const other = tensor([7, 8, 9]); // must not take the place of what is read
  assertEquals(Array.from(await read), [1, 2, 3]);
  other.dispose();
  assertEquals(memory(device).liveBytes, before);
}, ["reference", "wasm", "webgpu"]);

Deno.test("resetPeak() starts a new peak from what is live", () => {
  resetPeak(reference);
  const kept = tensor([1, 2], [2], { device: reference });
  tensor(new Float32Array(100), [100], { device: reference }).dispose();
  assertEquals(memory(reference).peakBytes, 408);
  resetPeak(reference);
  assertEquals(memory(reference).peakBytes, 8);
  kept.dispose();
  assertEquals(memory(reference).peakBytes, 8);
});

Deno.test("a storage that was let go of cannot be used, held or released", () => {
  const storage = new Storage(reference, "f32", 3, "test");
  assertEquals([storage.bytes, storage.buffer.bytes], [12, 12]);
  storage.release();
  assertThrows(() => storage.buffer, UseAfterFreeError);
  assertThrows(() => storage.retain(), UseAfterFreeError);
  assertThrows(() => storage.release(), UseAfterFreeError);
});

Deno.test("MemoryLedger counts what is live and the most there was", () => {
  const ledger = new MemoryLedger();
  ledger.allocated(10);
  ledger.allocated(5);
  ledger.freed(10);
  ledger.allocated(1);
  assertEquals([ledger.liveBytes, ledger.peakBytes, ledger.storages], [6, 15, 2]);
});
