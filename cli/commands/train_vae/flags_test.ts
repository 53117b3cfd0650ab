import { assertEquals, assertThrows } from "@std/assert";
import { UsageError } from "../../shared/errors.ts";
import { parseFlags } from "../../shared/flags.ts";
import { resumedVaeSettings, sameVaeRun, VAE_FLAGS, type VaeFlags, vaeSettings } from "./flags.ts";

function flagsOf(line: string): VaeFlags {
  return parseFlags(line.split(" "), VAE_FLAGS);
}

const LINE = "--data photos --channels 8,16 --steps 20 --lr 0.01";

Deno.test("--resume stands alone, or says which run", () => {
  assertEquals(flagsOf("--resume --steps 3"), { resume: true, steps: 3 });
  assertEquals(flagsOf("--steps 3 --resume"), { resume: true, steps: 3 });
  assertEquals(flagsOf("--resume latest --steps 3"), { resume: "latest", steps: 3 });
});

Deno.test("the command line of an autoencoder's run resumes it", () => {
  const run = vaeSettings(flagsOf(LINE));
  assertEquals(run.warmup, 2);
  assertEquals(resumedVaeSettings(run, flagsOf(`${LINE} --resume`)), run);
  assertEquals(sameVaeRun(flagsOf(`${LINE} --resume auto --log-every 1`), run), true);
  assertEquals(sameVaeRun(flagsOf(`${LINE} --seed 1`), run), false);
  assertThrows(
    () => resumedVaeSettings(run, flagsOf("--channels 8,32")),
    UsageError,
    "--channels: the run has 8,16 but got 8,32; --resume continues a run as it was",
  );
});

Deno.test("runs of autoencoders from before there was a choice are resumed", () => {
  const { gradAccum: _, mixedPrecision: _1, strict: _2, ...older } = vaeSettings(flagsOf(LINE));
  const resumed = resumedVaeSettings(older as ReturnType<typeof vaeSettings>, { steps: 30 });
  assertEquals(resumed, { ...vaeSettings(flagsOf(LINE)), steps: 30 });
});

Deno.test("sizes beyond any machine are refused by their flags", () => {
  for (const line of ["--channels 8,1e9", "--latent-channels 1e9", "--layers 1e9"]) {
    const message = `${line.split(" ")[0]}: expected `;
    assertThrows(() => flagsOf(line), UsageError, message);
  }
});

Deno.test("a warm-up longer than the run is refused", () => {
  assertThrows(
    () => vaeSettings(flagsOf("--data photos --steps 6 --warmup 1000")),
    UsageError,
    "--warmup: expected 6 at most, the number of steps, but got 1000",
  );
});
