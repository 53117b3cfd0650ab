import { assertEquals, assertRejects } from "@std/assert";
import { openDawn } from "./dawn.ts";
import { startDevice } from "./device.ts";
import { CommandError, UsageError } from "./errors.ts";

Deno.test("where Dawn cannot be loaded it is said what it needs", async () => {
  const from = new URL("nowhere/index.js", import.meta.url).href;
  await assertRejects(
    () => openDawn({ from }),
    CommandError,
    "Connect to the npm registry once, on Linux, macOS or Windows, and allow what it needs",
  );
});

Deno.test("Dawn is not taken for a device that is no GPU", async () => {
  await assertRejects(
    () => startDevice({ device: "wasm", gpu: "dawn" }),
    UsageError,
    "--gpu dawn: expected --device webgpu or none but got --device wasm",
  );
});

Deno.test("immediates wait for a millisecond while Dawn is open", async () => {
  const module = `export const create = () => ({ requestAdapter: () => Promise.resolve(null) });`;
  const scope = globalThis as { setImmediate?: (run: () => void) => void };
  const { setTimeout, setImmediate } = globalThis as typeof globalThis & typeof scope;
  const delays: (number | undefined)[] = [];
  const { close } = await openDawn({ from: `data:application/javascript,${module}` });
  try {
    globalThis.setTimeout = ((run: () => void, delay?: number) => {
      delays.push(delay);
      return setTimeout(run, 0);
    }) as typeof setTimeout;
    await new Promise<void>((resolve) => scope.setImmediate!(resolve));
  } finally {
    globalThis.setTimeout = setTimeout;
    close();
  }
  assertEquals(delays, [1]);
  assertEquals(scope.setImmediate, setImmediate);
});
