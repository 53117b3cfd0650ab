import { assertEquals, assertRejects } from "@std/assert";
import { arraysOf } from "./arguments.ts";
import type { Backend } from "./backend.ts";
import { KERNEL_NAMES, type KernelArgs, type KernelName } from "./kernels.ts";
import { selfTest } from "./check_device.ts";
import { SelfTestError } from "./errors.ts";
import { createReferenceBackend } from "./reference/backend.ts";
import { elementsOf } from "./reference/buffer.ts";
import { type Device, MemoryLedger } from "./storage.ts";
import { eachDevice } from "../tests/devices.ts";

/** A device that applies a function to the arguments of one kernel once it has run. */
function spoiled(broken: KernelName, spoil: (args: KernelArgs[KernelName]) => void): Device {
  const backend = createReferenceBackend();
  const run = backend.run.bind(backend);
  const spoiling: Backend = Object.assign(backend, {
    run<K extends KernelName>(kernel: K, args: KernelArgs[K], op: string): void {
      run(kernel, args, op);
      if (kernel === broken) spoil(args);
    },
  });
  return { name: "reference", backend: spoiling, ledger: new MemoryLedger() };
}

for (const kernel of KERNEL_NAMES) {
  Deno.test(`a device is refused where ${kernel} is wrong in one element, or fails`, async () => {
    const wrong = spoiled(kernel, (args) => {
      const { view } = arraysOf(kernel, args)[0]!; // one that it writes
      const data = elementsOf(view);
      data[view.offset + 5] = data[view.offset + 5]! * 1.01 + 1;
    });
    await assertRejects(
      () => selfTest(wrong, [kernel]),
      SelfTestError,
      `kernel ${kernel} gives wrong numbers in f32: expected errors of at most`,
    );
    const failing = spoiled(kernel, () => {
      throw new WebAssembly.RuntimeError("unreachable");
    });
    await assertRejects(
      () => selfTest(failing, [kernel]),
      SelfTestError,
      `kernel ${kernel} failed: unreachable`,
    );
  });
}

Deno.test("selfTest() tries every kernel that there is, and names the one that is wrong", async () => {
  const tried = new Set<KernelName>();
  const device = spoiled("elementwise", () => {});
  const run = device.backend.run.bind(device.backend);
  Object.assign(device.backend, {
    run<K extends KernelName>(kernel: K, args: KernelArgs[K], op: string): void {
      tried.add(kernel);
      run(kernel, args, op);
    },
  });
  await selfTest(device);
  assertEquals([...tried].sort(), [...device.backend.halfKernels].sort());
  const wrong = spoiled("conv2d", (args) => elementsOf((args as KernelArgs["conv2d"]).out).fill(0));
  await assertRejects(() => selfTest(wrong), SelfTestError, "kernel conv2d gives wrong numbers");
});

eachDevice("a device that works passes its self-test, and keeps nothing of it", async (device) => {
  const before = device.ledger.liveBytes;
  await selfTest(device);
  assertEquals(device.ledger.liveBytes, before);
}, ["reference", "wasm", "webgpu"]);
