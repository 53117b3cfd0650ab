/**
 * What every rank of a benchmark runs: the jobs that rank 0 reads from its standard input, one a line,
 * until it ends. Rank 0 prints what comes of each.
 */
import { init, shutdown } from "@dit/core";
import { openWorld } from "../../cli/distributed/open.ts";
import { type AllReduceJob, measureAllReduce } from "./all_reduce.ts";
import { lineStream, RESULT_MARK } from "./launch.ts";
import { Training, type TrainingJob } from "./training.ts";

/** Everything that ranks can be asked for. */
export type Job = AllReduceJob | TrainingJob;

const world = await openWorld({ distributed: "auto" });
const device = await init({ device: "wasm", wasm: { threads: Number(Deno.args[0]) } });
const training = new Training(world);
const lines = world.rank === 0
  ? Deno.stdin.readable.pipeThrough(new TextDecoderStream()).pipeThrough(lineStream()).getReader()
  : null;

/** The next job, which rank 0 tells the others; null at the end. */
async function nextJob(): Promise<Job | null> {
  const line = (await lines?.read())?.value ?? "";
  const [told] = await world.allGather(new TextEncoder().encode(line));
  return told!.length === 0 ? null : JSON.parse(new TextDecoder().decode(told));
}

for (let job = await nextJob(); job !== null; job = await nextJob()) {
  const result = job.what === "training"
    ? await training.run(job)
    : await measureAllReduce(world, device, job);
  if (world.rank === 0) console.log(RESULT_MARK + JSON.stringify(result));
}
training[Symbol.dispose]();
await world.close();
await shutdown(device);
