/** What the benchmark calls in the page: its own engine and its own trainer. */
import type { SampleEvent } from "../../web/protocol.ts";
import type { TrainingEvent, TrainingRequest } from "../../web/trainer.ts";
import { type BrowserDevice, WorkerEngine } from "../../web/worker_engine.ts";
import { WorkerTrainer } from "../../web/worker_trainer.ts";

let engine: WorkerEngine;
let drawingSteps: number | null;

async function drawOne(onEvent: (event: SampleEvent) => void): Promise<void> {
  const [model] = await engine.models();
  const { id, usual } = model!;
  const steps = drawingSteps ?? usual.steps;
  await engine.sample(
    { ...usual, steps, model: id, pictures: [{ label: 3, seed: 1 }], eta: 0 },
    onEvent,
    new AbortController().signal,
  );
}

/** Draws the first picture of a visit; seconds to what is seen of it. */
export async function drawFirst(
  device: BrowserDevice,
  steps: number | null,
): Promise<{ device: string; preview: number; finished: number }> {
  [engine, drawingSteps] = [new WorkerEngine(location.href, device), steps];
  const begun = performance.now();
  const seconds = () => (performance.now() - begun) / 1000;
  let [preview, name] = [NaN, ""];
  await drawOne((event) => {
    if (event.kind === "step" && event.pictures && Number.isNaN(preview)) preview = seconds();
    if (event.kind === "done") name = event.device;
  });
  return { device: name, preview, finished: seconds() };
}

/** Draws another one; seconds. */
export async function drawNext(): Promise<number> {
  const begun = performance.now();
  await drawOne(() => {});
  return (performance.now() - begun) / 1000;
}

/** Trains; seconds of a step after the first, which compiles. */
export async function trainSteps(
  device: BrowserDevice,
  request: TrainingRequest,
): Promise<{ device: string; seconds: number }> {
  const { trainingData } = await (await fetch("site.json")).json();
  const events: TrainingEvent[] = [];
  const trainer = new WorkerTrainer(location.href, trainingData, device);
  await trainer.train(request, (event) => events.push(event)).finished;
  return stepSeconds(events);
}

/** Mean of the steps after the first. */
export function stepSeconds(
  events: readonly TrainingEvent[],
): { device: string; seconds: number } {
  const steps = events.filter((event) => event.kind === "step");
  const done = events.at(-1)!;
  const taken = done.kind === "done" ? done.seconds - steps[0]!.seconds : NaN;
  return {
    device: done.kind === "done" ? done.device : "",
    seconds: taken / (steps.length - 1),
  };
}
