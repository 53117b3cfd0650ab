import { assertThrows } from "@std/assert";
import type { View } from "../view.ts";
import { DeviceError } from "../errors.ts";
import { checkAccesses } from "./access_check.ts";
import { gpuTest } from "./device/device_test_util.ts";
import type { Access } from "./shader/accessors.ts";

gpuTest("checkAccesses() holds shaders to what the kernel's descriptor says", (b) => {
  const view = (): View => {
    return { buffer: b.alloc(24, "test"), dtype: "f32", offset: 0, shape: [2, 3], strides: [3, 1] };
  };
  const [x, out] = [view(), view()];
  const run = (ofX: Access, ofOut: Access) => () =>
    checkAccesses(b.runtime, "softmax", { x, out, log: false }, "op", () =>
      b.runtime.dispatch({
        op: "op",
        key: `accessCheckTest ${ofX} ${ofOut}`,
        source: () => "@compute @workgroup_size(1) fn main() {}",
        views: [{ name: "x", view: x, access: ofX }, { name: "out", view: out, access: ofOut }],
        workgroups: 1,
      }));
  run("read", "write")();
  run("read", "readwrite")();
  assertThrows(run("write", "write"), DeviceError, 'its shader may write "x"');
  assertThrows(run("read", "read"), DeviceError, 'to write "out" but no shader can');
});
