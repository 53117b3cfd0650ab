import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { DeviceError } from "../../errors.ts";
import { currentDevice, init, shutdown } from "../../mod.ts";
import { describeAdapter, graphicsSystem, isSoftwareAdapter, openDevice } from "./adapter.ts";

type Asked = GPUDeviceDescriptor & { requiredLimits?: Record<string, number> };

const LIMITS = { maxBufferSize: 2 ** 31, maxStorageBuffersPerShaderStage: 31, maxSamplers: 99 };

/** An adapter that opens where `opens` says so, and what it was asked for. */
function fakeAdapter(
  opens: (asked: Asked) => boolean,
  description = "Some Graphics 100",
): { adapter: GPUAdapter; asked: Asked[] } {
  const asked: Asked[] = [];
  const adapter = {
    info: { description },
    // As in browsers, the limits are inherited.
    limits: Object.create(LIMITS),
    features: new Set(["shader-f16"]),
    requestDevice(descriptor: Asked) {
      asked.push(descriptor);
      return opens(descriptor)
        ? Promise.resolve({} as GPUDevice)
        : Promise.reject(new Error("the driver refuses"));
    },
  };
  return { adapter: adapter as unknown as GPUAdapter, asked };
}

Deno.test("a GPU is opened with all of its limits and the features that kernels use", async () => {
  const { adapter, asked } = fakeAdapter(() => true);
  await openDevice(adapter);
  assertEquals(asked, [
    { requiredFeatures: ["shader-f16"], requiredLimits: LIMITS, label: "tensor" },
  ]);
});

Deno.test("a limit that cannot be had does not lose the GPU", async () => {
  const { adapter, asked } = fakeAdapter((d) => d.requiredLimits?.maxSamplers === undefined);
  await openDevice(adapter);
  const { maxBufferSize, maxStorageBuffersPerShaderStage } = LIMITS;
  const requiredLimits = { maxBufferSize, maxStorageBuffersPerShaderStage };
  assertEquals(asked.length, 2);
  assertEquals(asked[1], { requiredFeatures: ["shader-f16"], requiredLimits, label: "tensor" });
});

Deno.test("a GPU that opens with the default limits only is opened with those", async () => {
  const bare = fakeAdapter((d) => !d.requiredLimits && !d.requiredFeatures);
  await openDevice(bare.adapter);
  assertEquals(bare.asked.at(-1), { label: "tensor" });
  const any = fakeAdapter(() => true);
  await openDevice(any.adapter, "default");
  assertEquals(any.asked, [{ label: "tensor" }]);
});

Deno.test("a GPU that cannot be opened is named, with the reason", async () => {
  const { adapter } = fakeAdapter(() => false);
  await assertRejects(
    () => openDevice(adapter),
    DeviceError,
    "init: the GPU Some Graphics 100",
  );
  const error = await openDevice(adapter).catch((error) => error as DeviceError);
  assertStringIncludes((error as DeviceError).message, "could not be opened: the driver refuses");
});

Deno.test("init() takes the CPU where the GPU cannot be opened, and says why", async () => {
  const { adapter } = fakeAdapter(() => false);
  const said: string[] = [];
  const { warn } = console;
  console.warn = (text: string) => said.push(text);
  try {
    for (
      const requestAdapter of [
        () => Promise.resolve(adapter),
        () => Promise.reject(new Error("no driver")),
        () => Promise.resolve(null),
      ]
    ) {
      await init({ gpu: { requestAdapter }, wasm: { threads: 1 } });
      assertEquals(currentDevice().name, "wasm");
      await shutdown(currentDevice());
    }
  } finally {
    console.warn = warn;
  }
  assertEquals(said.length, 2); // no GPU at all is nothing to warn of
  assertStringIncludes(said[0]!, "could not be opened: the driver refuses; computing on the CPU");
  assertStringIncludes(said[1]!, "no driver; computing on the CPU instead");
});

Deno.test("a description says how a GPU is reached as far as that is known", () => {
  assertEquals(graphicsSystem("linux", "vulkan,metal,dx12"), "Vulkan");
  assertEquals(graphicsSystem("linux", "gl"), "OpenGL");
  assertEquals(graphicsSystem("linux", null), null);
  assertEquals(graphicsSystem("windows", "Vulkan, DX12"), "Vulkan or Direct3D 12");
  assertEquals(graphicsSystem("darwin", null), "Metal");
  assertEquals(graphicsSystem("", null), null); // a browser
  const { adapter } = fakeAdapter(() => true, "llvmpipe (LLVM 15.0.6, 256 bits)");
  assertEquals(isSoftwareAdapter(adapter), true);
  assertStringIncludes(describeAdapter(adapter), "llvmpipe (LLVM 15.0.6, 256 bits) (software");
});
