import { assertEquals, assertInstanceOf, assertThrows } from "@std/assert";
import { eachDevice } from "../tests/devices.ts";
import { DTypeError, IndexError, scope, ShapeError, Tensor, tensor, zeros } from "../tensor/mod.ts";
import { BatchTimesteps, type Timesteps } from "./mod.ts";

const TABLE = [10, 20.5, 30, 40];
const of = (t: Exclude<Timesteps, BatchTimesteps>, batch = 3) =>
  new BatchTimesteps("test", t, batch, TABLE.length);
const i32 = (values: number[]) => tensor(values, [values.length], { dtype: "i32" });

eachDevice("timesteps of every kind look up the same values", async () => {
  using _ = scope();
  const x = zeros([3, 2, 4, 4]);
  for (const t of [[3, 1, 0], Int32Array.of(3, 1, 0), i32([3, 1, 0])]) {
    const values = of(t).gather(TABLE, x);
    assertInstanceOf(values, Tensor);
    assertEquals(values.shape, [3, 1, 1, 1]);
    assertEquals([...await values.data()], [40, 20.5, 10]);
    const full = of(t).expand((s) => 2 * TABLE[s]!, x);
    assertEquals(full.shape, x.shape);
    assertEquals((await full.data())[32], 41);
  }
}, ["reference", "wasm", "webgpu"]);

eachDevice("one timestep for all gives a number with all its digits", () => {
  using _ = scope();
  const x = zeros([3, 2]);
  for (const t of [2, [2, 2, 2], i32([2, 2, 2])]) {
    assertEquals(of(t).uniform, 2);
    assertEquals(of(t).gather((s) => s / 3, x), 2 / 3);
  }
});

eachDevice("models get the timesteps of the map", async () => {
  using _ = scope();
  const x = zeros([3, 1]);
  const map = [0, 333, 666, 999];
  for (const t of [[3, 1, 0], i32([3, 1, 0])]) {
    const mapped = of(t).mapped(map, x);
    assertEquals([mapped.dtype, [...await mapped.data()]], ["i32", [999, 333, 0]]);
  }
  const device = i32([3, 1, 0]);
  assertEquals(of(device).mapped([0, 1, 2, 3], x), device); // itself where nothing changes
});

eachDevice("timesteps that do not fit are refused before any work", () => {
  using _ = scope();
  assertThrows(() => of([0, 1, 4]), IndexError, "expected timesteps in [0, 4) but got 4");
  assertThrows(() => of(-1), IndexError, "but got -1");
  assertThrows(() => of([0, 0.5, 1]), IndexError, "but got 0.5");
  assertThrows(() => of([0, 1]), ShapeError, "shape [3], one a sample, but got [2]");
  assertThrows(() => of(i32([0, 1])), ShapeError);
  assertThrows(() => of(tensor([0, 1, 2])), DTypeError, "timesteps of i32 but got f32");
  const outside = of(i32([0, 1, 4]));
  assertThrows(() => outside.gather(TABLE, zeros([3, 1])), IndexError);
});
