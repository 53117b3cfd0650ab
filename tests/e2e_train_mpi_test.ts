/** `deno task train` on several ranks, under each MPI that is installed. */
import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { command, words } from "./commands.ts";
import { requireWebGpu, webgpuMissing } from "./devices.ts";
import { launched, mpiTest, runRanks } from "./mpi.ts";
import { writeTinyDigits } from "./tiny_digits.ts";

/** A model of a few thousand parameters, trained in all ways at once that ranks have to share. */
const TINY = words(
  "--data digits --hidden-size 16 --depth 1 --num-heads 2 --patch-size 8 --batch-size 8",
  "--grad-accum 2 --grad-checkpoint --class-dropout 0.3 --log-every 1 --sample-every 0",
  "--final-samples 0",
);

async function lossesOf(run: string): Promise<number[]> {
  const lines = (await Deno.readTextFile(`${run}/metrics.jsonl`)).trim().split("\n");
  return lines.map((line) => JSON.parse(line).loss);
}

async function assertSameLosses(run: string, of: string, tolerance: number): Promise<void> {
  const [got, want] = [await lossesOf(run), await lossesOf(of)];
  assertEquals(got.length, want.length);
  got.forEach((loss, i) => {
    assertAlmostEquals(loss, want[i]!, tolerance * want[i]!, `loss of step ${i + 1}`);
  });
}

mpiTest("2 ranks, then 4, come to the losses of one process", async (mpi, folder) => {
  await writeTinyDigits(`${folder}/digits`, 40);
  const args = [...TINY, "--device", "wasm"];
  const whole = words("--steps 8 --results-dir alone");
  const alone = await command("train", [...args, ...whole], folder);
  assertEquals(alone.code, 0, alone.err);
  const first = await runRanks(mpi, 2, launched("train", ...args, "--steps", "4"), { cwd: folder });
  assertEquals(first.code, 0, first.err);
  const rest = words("--resume latest --steps 8");
  const { code, out, err } = await runRanks(mpi, 4, launched("train", ...rest), { cwd: folder });
  assertEquals(code, 0, err);
  assertStringIncludes(out, "from step 4 to 8 of 8 images");
  assertMatch(out, /^ranks {4}4 by MPI \(.*\), on this machine, with 2 images a step each$/m);
  assertEquals(out.match(/^finished/gm)?.length, 1, out);
  assertEquals(err.includes("step"), false, err);
  const [run, of] = ["results", "alone"].map((results) => `${folder}/${results}/000-DiT-Mini-4`);
  await assertSameLosses(run!, of!, 1e-4);
});

mpiTest("ranks are refused what they cannot share", async (mpi, folder) => {
  await writeTinyDigits(`${folder}/digits`, 40);
  const uneven = await runRanks(mpi, 3, launched("train", ...TINY), { cwd: folder });
  assert(uneven.code !== 0);
  assertStringIncludes(
    uneven.err,
    "--global-batch-size: expected a multiple of 6, the 3 ranks times --grad-accum 2, but got 8; " +
      "take 6 or 12, or another number of ranks",
  );
  assertEquals(await Deno.stat(`${folder}/results`).catch(() => null), null);
});

if (!requireWebGpu && webgpuMissing) {
  const name = `two ranks train on WebGPU as one process does (${webgpuMissing})`;
  Deno.test({ name, ignore: true, fn() {} });
} else {
  mpiTest("two ranks train on WebGPU as one process does", async (mpi, folder) => {
    await writeTinyDigits(`${folder}/digits`, 40);
    const args = [...TINY, ...words("--device webgpu --steps 3 --mixed-precision fp16")];
    const alone = await command("train", [...args, "--results-dir", "alone"], folder);
    assertEquals(alone.code, 0, alone.err);
    const { code, err } = await runRanks(mpi, 2, launched("train", ...args), { cwd: folder });
    assertEquals(code, 0, err);
    const run = "000-DiT-Mini-4";
    await assertSameLosses(`${folder}/results/${run}`, `${folder}/alone/${run}`, 1e-3);
  });
}
