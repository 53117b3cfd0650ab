import { assertEquals, assertThrows } from "@std/assert";
import { eachDevice } from "../tests/devices.ts";
import { type HostDType, type HostTensor, type HostTypedArray, scope } from "../tensor/mod.ts";
import { Linear, type StateValue } from "./mod.ts";
import { StateDictError } from "./state.ts";

/** A weight as files hold it. */
function raw(dtype: HostDType, elements: HostTypedArray, shape: number[]): HostTensor {
  return { dtype, shape, data: new Uint8Array(elements.buffer) };
}

eachDevice("loadStateDict() takes tensors as files hold them, of any float type", async () => {
  using _ = scope();
  const layer = new Linear(2, 2);
  layer.loadStateDict({
    weight: raw("bf16", Uint16Array.of(0x3f80, 0x4000, 0xc040, 0x3f00), [2, 2]),
    bias: raw("f64", Float64Array.of(0.1, -3), [2]),
  });
  assertEquals(Array.from(await layer.weight.data()), [1, 2, -3, 0.5]);
  assertEquals(Array.from(await layer.bias!.data()), [Math.fround(0.1), -3]);
}, ["wasm"]);

eachDevice("loadStateDict() lists all that does not fit and changes nothing", async () => {
  using _ = scope();
  const layer = new Linear(2, 2);
  const before = await layer.weight.data();
  const state: Record<string, StateValue> = {
    weight: { shape: [2, 2], data: [1, 2, 3] },
    bias: { dtype: "i64", shape: [2], data: new Uint8Array(16) },
    scale: { shape: [1], data: [1] },
  };
  const { message } = assertThrows(() => layer.loadStateDict(state), StateDictError);
  assertEquals(message.split("\n").slice(1).map((line) => line.trim()), [
    "scale: unexpected, of shape [1]",
    "weight: expected 4 elements but got 3",
    "bias: expected floats but got i64",
  ]);
  assertEquals(await layer.weight.data(), before);
}, ["wasm"]);
