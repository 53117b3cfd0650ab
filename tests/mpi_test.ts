/** Ranks under a real MPI: what they tell each other, and that none outlives another. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { DIT_KIND } from "../cli/commands/train/dit_trainee.ts";
import { openCheckpoint } from "../cli/run/checkpoint.ts";
import { type Ended, words } from "./commands.ts";
import { ended, launched, type Mpi, mpiTest, runRanks, script, startRanks } from "./mpi.ts";
import { noWebGpu } from "./devices.ts";
import { writeTinyDigits } from "./tiny_digits.ts";

mpiTest("three ranks combine, spread and gather values", async (mpi) => {
  const { code, out, err } = await runRanks(mpi, 3, script("mpi_rank.ts", "operations"));
  assertEquals(code, 0, err);
  for (const rank of [0, 1, 2]) {
    assertStringIncludes(out, `rank ${rank} of 3 on 3: fine, MPI (${mpi.name}`);
  }
});

/** How rank 1 ends before its time, and what is said. */
const ENDS = {
  reject: /rank 1 of 2: Error: a bug/,
  exit: /rank 1 of 2: ended before its work was done/,
  hang: /rank 0 of 2: waited 3 s for the other ranks/,
  kill: /(rank 1|EXIT CODE: 9)/i,
} as const;

mpiTest("a rank that fails, exits, hangs or is killed ends all", async (mpi) => {
  // at the same time: it is mostly waiting
  await Promise.all(
    Object.entries(ENDS).map(async ([how, says]) => {
      const { code, out, err } = await runRanks(mpi, 2, script("mpi_rank.ts", how), {
        env: how === "hang" ? { DIT_MPI_TIMEOUT: "3" } : {},
      });
      assert(code !== 0, how);
      assertMatch(out + err, says, how);
      assert(!out.includes("through"), how);
    }),
  );
});

mpiTest("a rank that loses its GPU ends all", async (mpi) => {
  const { code, out, err } = await runRanks(mpi, 2, script("mpi_rank.ts", "lose"));
  assert(code !== 0, err);
  assertMatch(err, /rank 1 of 2: Device(Lost)?Error: read: the GPU/);
  assert(!out.includes("through"), out);
}, noWebGpu ?? null);

mpiTest(
  "a command whose work ranks cannot share is refused",
  async (mpi) => {
    const refused = await runRanks(mpi, 2, launched("sample", "--classes", "3"));
    assertEquals(refused.code, 2, refused.err);
    assertStringIncludes(
      refused.err,
      `expected to be started once, but mpirun of ${mpi.name} started 2`,
    );
  },
);

/** Training of a few thousand parameters, longer than the test. */
const TRAINING = words(
  "--data digits --device wasm --hidden-size 16 --depth 1 --num-heads 2 --patch-size 8",
  "--batch-size 4 --sample-every 0 --final-samples 0 --log-every 1 --ckpt-every 3",
  "--steps 1000000 --resume auto",
);

/** Starts training on two ranks; waits for some steps, then sends a signal to one of them. */
async function signalled(
  mpi: Mpi,
  cwd: string,
  steps: number,
  signal: Deno.Signal,
): Promise<Ended> {
  const ranks = startRanks(mpi, [[2, launched("train", ...TRAINING)]], { cwd });
  const err = new Response(ranks.stderr).text();
  let out = "";
  let isSent = false;
  for await (const text of ranks.stdout.pipeThrough(new TextDecoderStream())) {
    out += text;
    if (isSent || (out.match(/^step /gm)?.length ?? 0) < steps) continue;
    isSent = true;
    const args = script("signal_rank.ts", await Deno.realPath(cwd), signal);
    const { stdout } = await new Deno.Command("deno", { args }).output();
    assertMatch(new TextDecoder().decode(stdout), /^sent/);
  }
  return { code: (await ranks.status).code, out, err: await err };
}

/** The last checkpoint's step, as its file says. */
async function lastStep(folder: string): Promise<number> {
  const checkpoints = `${folder}/results/000-DiT-Mini-4/checkpoints`;
  const names = Array.from(Deno.readDirSync(checkpoints), ({ name }) => name)
    .filter((name) => name.endsWith(".safetensors")).sort();
  using checkpoint = await openCheckpoint(`${checkpoints}/${names.at(-1)}`, DIT_KIND);
  return checkpoint.header.step;
}

mpiTest("training saves and stops at a signal, and a killed rank ends all", async (mpi, folder) => {
  await writeTinyDigits(`${folder}/digits`, 30);
  const stopped = await signalled(mpi, folder, 2, "SIGTERM");
  const [, at] = /stopped at step (\d+);/.exec(stopped.out) ?? [];
  assert(at !== undefined && stopped.code !== 0, stopped.out + stopped.err);
  assertEquals(await lastStep(folder), Number(at));

  const killed = await signalled(mpi, folder, 4, "SIGKILL");
  assert(killed.code !== 0, killed.out);
  assertMatch(killed.err + killed.out, /rank 1: its process was ended by SIGKILL|EXIT CODE: 9/);
  assertMatch(killed.out, new RegExp(`^step ${Number(at) + 1}/`, "m")); // it went on
  assert(await lastStep(folder) > Number(at));
}, Deno.build.os === "linux" ? null : "finds a process as on Linux");

mpiTest("ranks with other or wrong flags are refused, and named", async (mpi, cwd) => {
  const withSecond = async (...flags: string[]): Promise<Ended> => {
    const two = [TRAINING, [...TRAINING, ...flags]];
    return await ended(
      startRanks(mpi, two.map((args) => [1, launched("train", ...args)]), { cwd }),
    );
  };
  const [other, wrong] = await Promise.all([withSecond("--lr", "0.1"), withSecond("--lrr", "1")]);
  assert(other.code !== 0, other.err);
  assertMatch(other.err, /the command line: expected the same on all 2 ranks but rank 1 has/);
  assertEquals(wrong.code, 2, wrong.err);
  assertMatch(wrong.err, /rank 1 of 2: train: unknown flag --lrr/);
});

mpiTest("processes of srun that MPI takes for single ones are refused", async (mpi, folder) => {
  const { code, stderr } = await new Deno.Command("deno", {
    args: script("mpi_rank.ts", "exit"),
    cwd: folder,
    env: {
      NO_COLOR: "1",
      SLURM_JOB_ID: "7",
      SLURM_STEP_ID: "0",
      SLURM_STEP_NUM_TASKS: "2",
      ...(mpi.name === "MPICH" ? { PMI_RANK: "0" } : {}),
    },
  }).output();
  const err = new TextDecoder().decode(stderr);
  assert(code !== 0, err);
  assertStringIncludes(err, `srun of Slurm started 2 processes, but ${mpi.name}`);
});
