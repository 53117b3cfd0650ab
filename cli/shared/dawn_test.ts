import { assertRejects } from "@std/assert";
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
