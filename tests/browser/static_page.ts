/** What the tests of the static page call in it: its own engine and its own trainer. */
import type { Picture, SampleRequest } from "../../web/protocol.ts";
import type { TrainingEvent, TrainingRequest } from "../../web/trainer.ts";
import { type BrowserDevice, WorkerEngine } from "../../web/worker_engine.ts";
import { WorkerTrainer } from "../../web/worker_trainer.ts";

/** A picture that a page can hand over. */
export interface Drawn {
  readonly device: string;
  readonly width: number;
  readonly rgba: readonly number[];
}

/** Draws with the first model of the page. */
export async function draw(
  device: BrowserDevice,
  request: Omit<SampleRequest, "model">,
): Promise<Drawn> {
  const engine = new WorkerEngine(location.href, device);
  const [model] = await engine.models();
  let drawn: Drawn | undefined;
  await engine.sample({ ...request, model: model!.id }, (event) => {
    if (event.kind !== "done") return;
    const { width, rgba } = event.pictures[0] as Picture;
    drawn = { device: event.device, width, rgba: [...rgba] };
  }, new AbortController().signal);
  return drawn!;
}

/** How a training went. */
export interface Trained {
  readonly losses: readonly number[];
  readonly samples: number;
  readonly bytes: number;
  /** A picture by the model that was trained. */
  readonly drawn: Drawn;
}

/** Trains as the page does, and draws with what it trained. */
export async function train(
  device: BrowserDevice,
  request: TrainingRequest,
  drawing: Omit<SampleRequest, "model">,
): Promise<Trained> {
  const { trainingData } = await (await fetch("site.json")).json();
  const trainer = new WorkerTrainer(location.href, trainingData, device);
  await trainer.info();
  const events: TrainingEvent[] = [];
  await trainer.train(request, (event) => events.push(event)).finished;
  const done = events.at(-1)!;
  if (done.kind !== "done") throw new Error(`expected the end but got ${done.kind}`);
  const engine = new WorkerEngine(location.href, device);
  engine.addModel(done.model, done.weights);
  let drawn: Drawn | undefined;
  await engine.sample({ ...drawing, model: done.model.id }, (event) => {
    if (event.kind !== "done") return;
    const { width, rgba } = event.pictures[0] as Picture;
    drawn = { device: event.device, width, rgba: [...rgba] };
  }, new AbortController().signal);
  return {
    losses: events.flatMap((event) => event.kind === "step" ? [event.loss] : []),
    samples: events.filter(({ kind }) => kind === "samples").length,
    bytes: done.weights.size,
    drawn: drawn!,
  };
}
