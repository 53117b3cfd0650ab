import { assertEquals, assertThrows } from "@std/assert";
import { eachDevice } from "../tests/devices.ts";
import {
  type HostDType,
  type HostTensor,
  type HostTypedArray,
  scope,
  type Tensor,
  tensor,
} from "../tensor/mod.ts";
import { Linear, Module, type StateValue } from "./mod.ts";
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

/** With a buffer of each type of integers. */
class Lookup extends Module {
  order: Tensor = tensor([2, 0, 1], [3], { dtype: "i32" });
  seeds: Tensor = tensor([4e9, 1], [2], { dtype: "u32" });
  mask: Tensor = tensor([1, 0], [2], { dtype: "u8" });

  forward(x: Tensor): Tensor {
    return x;
  }
}

eachDevice(
  "loadStateDict() takes integers where a module has some, as files hold them",
  async () => {
    using _ = scope();
    const lookup = new Lookup();
    lookup.loadStateDict({
      order: raw("i64", BigInt64Array.of(1n, 16777217n, -3n), [3]),
      seeds: raw("u32", Uint32Array.of(2 ** 32 - 1, 0), [2]),
      mask: raw("bool", Uint8Array.of(0, 1), [2]),
    });
    assertEquals(await lookup.order.data(), Int32Array.of(1, 16777217, -3));
    assertEquals(await lookup.seeds.data(), Uint32Array.of(2 ** 32 - 1, 0));
    assertEquals(await lookup.mask.data(), Uint8Array.of(0, 1));
  },
  ["wasm"],
);
