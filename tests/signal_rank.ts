/**
 * Sends a signal to the process that works on a command as rank 1, in the folder given: SIGKILL as
 * a system without memory does, SIGTERM as a scheduler. Reads what Linux says of processes.
 *
 *     deno run -A tests/signal_rank.ts FOLDER SIGNAL
 */
const [folder, signal] = Deno.args;
for (const { name } of Deno.readDirSync("/proc")) {
  if (!/^\d+$/.test(name)) continue;
  try {
    const line = Deno.readTextFileSync(`/proc/${name}/cmdline`).split("\0");
    const variables = Deno.readTextFileSync(`/proc/${name}/environ`).split("\0");
    const isRank = variables.some((text) => /^(OMPI_COMM_WORLD_RANK|PMI_RANK)=1$/.test(text));
    const isCommand = line.some((word) => word.endsWith("cli/main.ts"));
    if (!isRank || !isCommand || Deno.readLinkSync(`/proc/${name}/cwd`) !== folder) continue;
    Deno.kill(Number(name), signal as Deno.Signal);
    console.log(`sent ${signal} to ${name}`);
  } catch { // another one's, or one that has ended
    continue;
  }
}
