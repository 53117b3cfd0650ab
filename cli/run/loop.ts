/** A run from its first step to its last: what happens between training steps, and when. */
import { type Device, scope } from "@dit/core/tensor";
import { BatchSampler, Loader, type SamplerPosition } from "@dit/data";
import { basename } from "@std/path";
import { type TrainingState, writeCheckpoint } from "./checkpoint.ts";
import { shownClasses } from "../shared/classes.ts";
import { CommandError } from "../shared/errors.ts";
import { damagedIn, findings } from "../shared/images.ts";
import { Meter, waitingText } from "./metrics.ts";
import { drawGrid } from "../commands/train/preview.ts";
import { duration, ProgressLine } from "../shared/progress.ts";
import { type History, reportHtml } from "./report.ts";
import type { RunFolder } from "./folder.ts";
import type { ImageSampler } from "../model/image_sampler.ts";
import { sortOut } from "./records.ts";
import type { TrainData } from "../commands/train/open_data.ts";
import type { Training } from "../commands/train/training.ts";

/** A run that is set up. */
export interface Run {
  readonly training: Training;
  readonly data: TrainData;
  readonly device: Device;
  readonly folder: RunFolder;
  /** All that was measured so far. */
  readonly history: History;
  /** Of the whole run. */
  readonly steps: number;
  /** What the first lines said, for the report. */
  readonly about: readonly string[];
  /** Draws with the model; null where there is no autoencoder to make pictures of its latents. */
  readonly imageSampler: ImageSampler | null;
  /** Where the data continue; the beginning where it is left out. */
  readonly position?: SamplerPosition;
  /** Whether somebody wants the run to stop. */
  readonly stopping: () => boolean;
}

/** Steps whose records are kept on the device at most. */
const SETTLE_EVERY = 100;

/** Where a step began, to look at it again. */
interface Beginning {
  readonly position: SamplerPosition;
  readonly generators: TrainingState["generators"];
}

/** Runs to the end, or until somebody stops it. */
export class TrainLoop {
  readonly #run: Run;
  readonly #sampler: BatchSampler;
  /** Where each step since the last look at the records began. */
  readonly #beginnings = new Map<number, Beginning>();
  readonly #progress: ProgressLine;
  readonly #terminal = Deno.stderr.isTerminal();
  readonly #meter: Meter;
  /** Steps left out for overflow that were told of. */
  #skipped = 0;
  /** Damaged images that log.txt has. */
  #logged = 0;

  /** Starts nothing yet. */
  constructor(run: Run) {
    this.#run = run;
    const { training: { settings, step }, data, position, folder, device } = run;
    this.#sampler = new BatchSampler({
      size: data.dataset.size,
      batchSize: settings.batchSize,
      seed: settings.seed,
      flip: settings.flip && data.dataset.flippable,
      ...(position ? { position } : {}),
    });
    this.#progress = new ProgressLine("", this.#terminal);
    this.#meter = new Meter(device, settings.batchSize, step, folder.lastMetrics);
  }

  /** Trains; returns whether the run came to its end. */
  async go(): Promise<boolean> {
    const { training, data, steps, stopping } = this.#run;
    const { logEvery, sampleEvery, ckptEvery } = training.settings;
    const isTime = (every: number) => every > 0 && training.step % every === 0;
    await using loader = new Loader(data.dataset, this.#sampler);
    this.#skipped = (await training.scaler.state()).skipped; // before a run that is continued
    await this.#report(null);
    while (training.step < steps && !stopping()) {
      this.#beginnings.set(training.step + 1, {
        position: loader.position,
        generators: training.generators(),
      });
      training.takeStep(await loader.next(), data.input);
      await training.giveFeedback();
      await this.#run.device.backend.ready(); // no more than about a second of steps is queued
      await nextTask(); // signals and timers get their turn

      const isLast = training.step === steps;
      if (isTime(logEvery) || isLast) await this.#measure(loader.waitSeconds);
      else if (this.#beginnings.size >= SETTLE_EVERY) await this.#settle();
      if (isTime(sampleEvery) || (sampleEvery > 0 && isLast)) {
        await this.#aside(() => this.#sample());
      }
      if (isTime(ckptEvery) || isLast) await this.#aside(() => this.#save(loader.position));
      if (isTime(logEvery) || isLast) await this.#aside(() => this.#report(null));
      this.#show();
    }
    this.#progress.end();
    if (training.step < steps) await this.#save(loader.position);
    return training.step === steps;
  }

  /** Says what was found out about the images, and writes the report for the last time. */
  async finish(ended: string): Promise<void> {
    const found = findings(this.#run.data.dataset);
    for (const line of found) await this.#note(line);
    await this.#report([ended, ...found].join("\n"));
  }

  /** Takes the records from the device, and stops the run where they are not numbers. */
  async #settle(): Promise<void> {
    const { training, data } = this.#run;
    const scaled = training.settings.mixedPrecision === "fp16";
    const scale = scaled ? (await training.scaler.state()).scale : null;
    const { finite, wrong } = sortOut(await training.records.take(), scale);
    if (wrong) {
      const { position, generators } = this.#beginnings.get(wrong.step)!;
      this.#sampler.seek(position);
      const plan = this.#sampler.next();
      const batch = await data.dataset.read(plan.indices, plan);
      const culprit = await training.findNonFinite(batch, generators, data.input);
      throw new CommandError(
        `step ${wrong.step}: ${culprit} is not a finite number. The run stops here; its ` +
          `checkpoints are from before. A lower --lr or a --grad-clip may help` +
          (scaled ? ", or --mixed-precision no" : ""),
      );
    }
    this.#beginnings.clear();
    this.#meter.add(finite);
  }

  /** What is no training: the device does the steps before it, and its own time does not count. */
  async #aside(task: () => Promise<void>): Promise<void> {
    await this.#settle();
    await this.#meter.without(task);
  }

  /** A line of metrics. */
  async #measure(waited: number): Promise<void> {
    await this.#settle();
    const { training, folder, data, steps } = this.#run;
    const { step } = training;
    const scaled = training.settings.mixedPrecision === "fp16";
    const { scale, skipped } = await training.scaler.state();
    const damaged = damagedIn(data.dataset);
    const scaler = scaled ? { scale, skipped } : null;
    const metrics = this.#meter.read({ step, waited, damaged: damaged.length, scaler });
    if (metrics) {
      this.#run.history.add(metrics);
      await folder.measure(metrics);
    }
    for (const text of damaged.slice(this.#logged)) await folder.log(`left out ${text}`);
    this.#logged = damaged.length;
    if (skipped > this.#skipped && scaled) {
      await this.#note(
        `${
          skipped - this.#skipped
        } steps left out: gradients overflowed, the scale is ${scale} now`,
      );
    }
    this.#skipped = skipped;
    const line = `step ${training.step}/${steps}  ${this.#figures()}`;
    if (this.#terminal) await folder.log(line);
    else await this.#note(`${line}, ${duration(this.#left())} left`);
  }

  #figures(): string {
    const last = this.#run.folder.lastMetrics;
    if (!last) return "";
    const { loss, stepsPerSecond, imagesPerSecond } = last;
    return `loss ${loss.toFixed(4)}, ${stepsPerSecond.toPrecision(3)} steps/s, ` +
      `${imagesPerSecond.toPrecision(3)} images/s${waitingText(last)}`;
  }

  #left(): number {
    const { training, steps, folder } = this.#run;
    return (steps - training.step) / (folder.lastMetrics?.stepsPerSecond ?? NaN);
  }

  #show(): void {
    const { training, steps } = this.#run;
    if (this.#terminal) this.#progress.show(training.step, steps, this.#figures());
  }

  async #note(message: string): Promise<void> {
    this.#progress.end();
    console.log(message);
    await this.#run.folder.log(message);
  }

  async #sample(): Promise<void> {
    const { training, imageSampler, folder } = this.#run;
    if (imageSampler) {
      await folder.keepPictures(training.step, await drawGrid(training, imageSampler));
    }
  }

  async #save(position: SamplerPosition): Promise<void> {
    await this.#settle(); // never a checkpoint of a run that has gone wrong
    const { training, folder } = this.#run;
    const { step, config, settings } = training;
    const state = await training.state(position);
    using _ = scope("checkpoint");
    const header = { step, config, training: state };
    await folder.save(
      step,
      settings.keep,
      (path) => writeCheckpoint(path, header, training.sections()),
    );
    await folder.log(`checkpoint of step ${step}`);
  }

  async #report(ended: string | null): Promise<void> {
    const { folder, history, about, steps, training: { config } } = this.#run;
    const columns = shownClasses(config.dit.numClasses).map((c) => config.classNames[c] ?? `${c}`);
    const title = basename(folder.path);
    const html = reportHtml({
      title,
      about,
      steps,
      history,
      pictures: "Samples",
      drawn: folder.drawn,
      pictureOf: (step) => folder.pictureOf(step),
      caption: columns.length > 0 ? `One column a class: ${columns.join(", ")}.` : "",
      ended,
    });
    await folder.report(html);
  }
}

/** After the events that wait now have had their turn. */
function nextTask(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}
