import { assertEquals, assertThrows } from "@std/assert";
import { UsageError } from "../../shared/errors.ts";
import { resumedSettings, settingsOf } from "./settings.ts";

Deno.test("only small models draw samples at the end unless they are asked for", () => {
  const drawn = (flags: Parameters<typeof settingsOf>[0]) => settingsOf(flags).finalSamples;
  assertEquals([drawn({}), drawn({ model: "DiT-XL/2" })], [20, 0]);
  assertEquals(drawn({ model: "DiT-XL/2", "final-samples": 3 }), 3);
});

Deno.test("a run is as long as its steps or its epochs say, begun or continued", () => {
  const both = { steps: 5, epochs: 1 };
  assertThrows(() => settingsOf(both), UsageError, "--steps or --epochs but got both");
  const before = settingsOf({ steps: 3 });
  assertThrows(() => resumedSettings(before, both), UsageError, "--steps or --epochs but got both");
  const { steps, epochs } = resumedSettings(before, { epochs: 2 });
  assertEquals([steps, epochs], [null, 2]);
});
