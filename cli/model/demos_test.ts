import { assertEquals, assertRejects } from "@std/assert";
import { diskTest } from "../../tests/fixtures.ts";
import { writeRun } from "../../tests/commands.ts";
import { CommandError, UsageError } from "../shared/errors.ts";
import { exists } from "../shared/files.ts";
import { parseFlags } from "../shared/flags.ts";
import { DEMO_NAMES, demoPath, withDemo } from "./demos.ts";
import { MODEL_FLAGS } from "./sampling_flags.ts";
import { findWeights, openSampled } from "./sampling_setup.ts";

diskTest("--demo names weights that come along, and is refused beside others", async (folder) => {
  assertEquals(DEMO_NAMES[0], "mnist"); // which samples come from without a run
  for (const name of DEMO_NAMES) assertEquals(await exists(demoPath(name)), true, name);
  const made = await writeRun(folder, "000-tiny", 1);
  await Deno.copyFile(made, demoPath("emoji", folder));
  const flags = parseFlags(["--demo", "emoji"], MODEL_FLAGS);
  const path = await findWeights(await withDemo(flags, folder));
  assertEquals(path, demoPath("emoji", folder));
  using weights = await openSampled(path, {});
  assertEquals(weights.config.dit.inputSize, 8);
  assertEquals(await withDemo({ ckpt: "own" }, folder), { ckpt: "own" });
  for (const other of [{ ckpt: "own" }, { "image-size": 256 }]) {
    const both = () => withDemo({ demo: "emoji" as const, ...other }, folder);
    await assertRejects(both, UsageError, `--demo or --${Object.keys(other)[0]} but got both`);
  }
  await assertRejects(
    () => withDemo({ demo: "mnist" }, folder),
    CommandError,
    `--demo mnist: expected its weights in ${demoPath("mnist", folder)} but found nothing there; ` +
      "make them with: deno task train --export-demo",
  );
});
