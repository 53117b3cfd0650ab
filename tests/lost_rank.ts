/**
 * Runs a program as a rank of MPI, and is killed with it, without a word, once a file is there:
 *
 *     mpirun -n 1 PROGRAM ... : -n 1 deno run -A tests/lost_rank.ts FILE PROGRAM ...
 */
const [file, program, ...args] = Deno.args;
const child = new Deno.Command(program!, { args }).spawn();

async function killed(): Promise<never> {
  while (!await Deno.stat(file!).then(() => true, () => false)) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  child.kill("SIGKILL");
  Deno.kill(Deno.pid, "SIGKILL");
  return await new Promise(() => {}); // until it arrives
}

const { code } = await Promise.race([child.status, killed()]);
Deno.exit(code);
