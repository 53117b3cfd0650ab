/** A process of the options' table: does the job that it is started with, and says what came of it. */
import { RESULT_MARK } from "../distributed/launch.ts";
import { type Ended, endingOf, type PrepareJob, type RowJob } from "./job.ts";

const job: PrepareJob | RowJob = JSON.parse(Deno.args[0]!);
let ended: Ended<unknown>;
try {
  const result = job.what === "prepare"
    ? await (await import("./prepare.ts")).prepare(job)
    : await (await import("./row.ts")).measureRow(job);
  ended = { how: "done", result };
} catch (error) {
  ended = endingOf(error);
}
console.log(RESULT_MARK + JSON.stringify(ended));
Deno.exit(); // threads that wait for work would keep the process
