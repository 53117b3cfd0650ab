import { assertEquals } from "@std/assert";
import { tensor, zeros } from "../create.ts";
import { memory } from "../device.ts";
import { scope } from "../scope.ts";
import { eachDevice } from "../../tests/devices.ts";
import { dispatch } from "./dispatch.ts";

eachDevice(
  "dispatch() runs kernels on f16 on any device, and leaves nothing behind",
  async (device) => {
    using _ = scope();
    const half = { dtype: "f16" } as const;
    const x = tensor([1, 2, 3, 4, 5, 6], [1, 2, 3], half);
    const out = zeros([1, 2, 3], half);
    const { tensors } = memory(device);
    dispatch("op", "cumsum", device, { x, out, reverse: false });
    assertEquals(memory(device).tensors, tensors);
    assertEquals(Array.from(await out.data()), [1, 2, 3, 5, 7, 9]);
  },
  ["reference", "wasm", "webgpu"],
);

eachDevice("dispatch() adds to what an f16 output holds", async (device) => {
  using _ = scope();
  const half = { dtype: "f16" } as const;
  const [a, b] = [tensor([1, 2], [1, 1, 1, 2], half), tensor([3, 4], [1, 1, 2, 1], half)];
  const out = tensor([100], [1, 1, 1, 1], half);
  const rest = { bias: null, activation: "none", pre: null } as const;
  dispatch("op", "matmul", device, { a, b, out, accumulate: true, ...rest });
  assertEquals(Array.from(await out.data()), [111]);
}, ["reference", "wasm", "webgpu"]);
