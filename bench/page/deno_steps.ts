/** Takes the page's training steps in Deno; prints JSON. Started by `bench/page.ts`. */
import { init } from "@dit/core/tensor";
import { readTrainingPlan, trainModel, unpackImages } from "@dit/web";
import type { TrainingEvent, TrainingRequest } from "../../web/trainer.ts";
import { stepSeconds } from "./calls.ts";

/** What to do. */
export interface DenoJob {
  /** Folder of the page. */
  readonly site: string;
  readonly training: TrainingRequest;
  readonly threads: number;
}

const { site, training, threads }: DenoJob = JSON.parse(Deno.args[0]!);
const plan = readTrainingPlan(JSON.parse(await Deno.readTextFile(`${site}/training.json`)));
const dataset = await unpackImages(await Deno.readFile(`${site}/${plan.data}`), plan);
const { backend } = await init({ device: "wasm", wasm: { threads } });
const events: TrainingEvent[] = [];
await trainModel(plan, dataset, training, (event) => events.push(event), {
  isStopped: () => false,
});
console.log(JSON.stringify({ ...stepSeconds(events), device: backend.description }));
Deno.exit(0);
