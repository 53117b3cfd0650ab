/** A run from its first step to its last: what happens between training steps, and when. */
import type { Device } from "@dit/core/tensor";
import { BatchSampler, type Dataset, Loader, type SamplerPosition } from "@dit/data";
import { basename } from "@std/path";
import { anyRank } from "../distributed/agree.ts";
import { fromRankZero, gather } from "../distributed/share.ts";
import { onRankZero } from "../distributed/together.ts";
import { CommandError, messageOf } from "../shared/errors.ts";
import { allFindings, damagedIn, findings } from "../shared/images.ts";
import { duration, ProgressLine, rateText } from "../shared/progress.ts";
import { giveWay } from "../shared/turns.ts";
import { type Evaluation, evaluationText, isComparable } from "./evaluation.ts";
import { BEST } from "./find.ts";
import type { RunFolder } from "./folder.ts";
import { Meter, type Unread, waitingText } from "./metrics.ts";
import { sortOut } from "./records.ts";
import { type History, reportHtml } from "./report.ts";
import { saveTrainee } from "./saving.ts";
import { agreeOnTrainee } from "./shares.ts";
import type { Streams, Trainee } from "./trainee.ts";

/** A run that is set up. */
export interface Run {
  readonly trainee: Trainee;
  readonly dataset: Dataset;
  readonly device: Device;
  /** Null on ranks other than 0, which write and say nothing. */
  readonly folder: RunFolder | null;
  /** All that was measured so far. */
  readonly history: History;
  /** Of the whole run. */
  readonly steps: number;
  /** The first lines of output, which the report repeats. */
  readonly summary: readonly string[];
  /** Where the data continue; the beginning where it is left out. */
  readonly position?: SamplerPosition;
  /** What was measured of steps before that, and is in no line of metrics yet. */
  readonly unread?: Unread | null;
  /** Whether the run is to stop before its end. */
  readonly stopping: () => boolean;
}

/** Steps whose records are kept on the device at most. */
const DRAIN_EVERY = 100;

/** Steps between two proofs that all ranks train the same. */
const PROOF_EVERY = 100;

/** Milliseconds between two versions of the page, which reloads itself more rarely. */
const REPORT_EVERY = 2000;

/** Where a step began, to compute it again. */
interface Beginning {
  readonly position: SamplerPosition;
  readonly streams: Streams;
}

/**
 * Takes the steps of a run, to its end or until it is to stop. Ranks that share the run all take
 * them, and come to each operation that is collective at the same place.
 */
export class TrainingLoop {
  readonly #run: Run;
  readonly #sampler: BatchSampler;
  readonly #progress: ProgressLine;
  readonly #terminal: boolean;
  readonly #meter: Meter;
  /** Where each step since the records were drained began. */
  readonly #beginnings = new Map<number, Beginning>();
  /** The step that a checkpoint has. */
  #saved: number;
  /** The step of the best checkpoint; undefined before it is looked for. */
  #best: number | null | undefined;
  /** When the page was written last. */
  #reported = -Infinity;
  /** Steps left out for overflow that were reported. */
  #skipped = 0;
  /** Damaged images of this rank that log.txt has. */
  #logged = 0;
  /** Damaged images that any rank has found. */
  readonly #damaged = new Set<string>();

  /** Starts nothing yet. */
  constructor(run: Run) {
    this.#run = run;
    const { trainee: { settings, step, world }, dataset, position, folder, device } = run;
    this.#sampler = new BatchSampler({
      size: dataset.size,
      batchSize: settings.batchSize,
      seed: settings.seed,
      flip: settings.flip && dataset.flippable,
      parts: settings.gradAccum,
      rank: world.rank,
      world: world.size,
      ...(settings.balance ? { balance: dataset.labels } : {}),
      ...(position ? { position } : {}),
    });
    this.#saved = step;
    this.#terminal = folder !== null && Deno.stderr.isTerminal();
    this.#progress = new ProgressLine("", this.#terminal);
    this.#meter = new Meter(device, settings.batchSize, step, folder?.lastMetrics);
    this.#meter.putUnread(run.unread ?? null);
  }

  /**
   * Trains; returns whether the run came to its end. Whatever ends it before that, a checkpoint of
   * the last whole step is left.
   */
  async train(): Promise<boolean> {
    const { trainee, dataset, steps } = this.#run;
    await using loader = new Loader(dataset, this.#sampler);
    try {
      await this.#takeSteps(loader);
    } catch (error) {
      this.#progress.end();
      await this.#rescue(loader.position);
      throw error;
    }
    this.#progress.end();
    return trainee.step >= steps;
  }

  async #takeSteps(loader: Loader): Promise<void> {
    const { trainee, steps, stopping } = this.#run;
    const { world, settings: { logEvery, sampleEvery, ckptEvery, evalEvery = 0 } } = trainee;
    const isTime = (every: number) =>
      every > 0 && (trainee.step % every === 0 || trainee.step === steps);
    const isAlone = world.size === 1;
    this.#skipped = (await trainee.lossScale())?.skipped ?? 0; // before a run that is continued
    await agreeOnTrainee(trainee);
    await this.#report(null);
    let isOver = isAlone && stopping();
    while (trainee.step < steps && !isOver) {
      const beginning = { position: loader.position, streams: trainee.streams() };
      this.#beginnings.set(trainee.step + 1, beginning);
      const batch = await loader.next();
      // beside the gradients: agreed by the time that they are there
      const isAsked = isAlone ? undefined : anyRank(world, stopping());
      await trainee.takeStep(batch);
      await trainee.afterStep();
      await this.#giveWay();

      if (isTime(logEvery)) await this.#measure(loader.waitSeconds);
      else if (this.#beginnings.size >= DRAIN_EVERY) await this.#drainRecords();
      if (isTime(sampleEvery)) await this.#between(() => this.#draw());
      if (isTime(evalEvery)) await this.#between(() => this.#evaluate(loader.position));
      if (isTime(ckptEvery)) await this.#between(() => this.#save(loader.position));
      else if (trainee.step % PROOF_EVERY === 0) await agreeOnTrainee(trainee);
      if (isTime(logEvery)) await this.#between(() => this.#report(null));
      this.#show();
      isOver = isAlone ? stopping() : await isAsked!;
    }
    if (trainee.step > this.#saved) await this.#save(loader.position);
  }

  /** Once a step: no more than about a second of steps is queued, and signals get their turn. */
  async #giveWay(): Promise<void> {
    await this.#run.device.backend.ready();
    await giveWay();
  }

  /**
   * Saves what can be saved of a run that something ended: the last whole step, unless its numbers
   * are wrong. Throws nothing: the error to report is the one that ended the run. One rank of several
   * saves nothing: it would have to ask others, which are elsewhere.
   */
  async #rescue(position: SamplerPosition): Promise<void> {
    const { trainee } = this.#run;
    if (trainee.world.size > 1) return;
    if (!trainee.isSound || trainee.step <= this.#saved) return;
    const next = this.#beginnings.get(trainee.step + 1); // a step that was not taken to its end
    try {
      if (next) trainee.abandonStep(next.streams);
      await this.#save(next?.position ?? position);
      console.error(`saved step ${trainee.step} before ending`);
    } catch (error) {
      console.error(`could not save step ${trainee.step}: ${messageOf(error)}`);
    }
  }

  /**
   * Prints damaged and enlarged images, and writes the report for the last time.
   *
   * @param isTogether Whether all ranks are here, and tell what they have found.
   */
  async finish(ended: string, isTogether: boolean): Promise<void> {
    const { dataset, trainee: { world } } = this.#run;
    const found = isTogether ? await allFindings(world, dataset) : findings(dataset);
    for (const line of found) await this.#note(line);
    await this.#report([ended, ...found].join("\n"));
  }

  /** Takes the records from the device, and stops the run where they are not numbers. */
  async #drainRecords(): Promise<void> {
    const { trainee, dataset } = this.#run;
    const scaler = await trainee.lossScale();
    const { finite, wrong } = sortOut(await trainee.records.take(), scaler?.scale ?? null);
    if (wrong) {
      this.#saved = Infinity; // never a checkpoint of a run that has gone wrong
      const { position, streams } = this.#beginnings.get(wrong.step)!;
      this.#sampler.seek(position);
      const plan = this.#sampler.next();
      trainee.seek(streams);
      const batch = await dataset.read(plan.indices, plan);
      const culprits = await gather(trainee.world, await trainee.findNonFinite(batch));
      const culprit = culprits.find((name) => name !== null) ?? "the norm of the gradients";
      throw new CommandError(
        `step ${wrong.step}: ${culprit} is not a finite number. The run stops here; its ` +
          `checkpoints are from before. A lower --lr or a --grad-clip may help` +
          (scaler ? ", or --mixed-precision no" : ""),
      );
    }
    this.#beginnings.clear();
    this.#meter.add(finite);
  }

  /** Work that is no training: it waits for the steps before, and its time is not measured. */
  async #between(task: () => Promise<void>): Promise<void> {
    await this.#drainRecords();
    await this.#meter.without(task);
  }

  /** A line of metrics. */
  async #measure(waited: number): Promise<void> {
    await this.#drainRecords();
    const { trainee, folder, history, steps } = this.#run;
    const { step } = trainee;
    const scaler = await trainee.lossScale();
    await this.#logDamaged();
    const metrics = this.#meter.read({ step, waited, damaged: this.#damaged.size, scaler });
    if (metrics) {
      history.add(metrics);
      await folder?.measure(metrics);
    }
    if (scaler && scaler.skipped > this.#skipped) {
      const count = scaler.skipped - this.#skipped;
      const text = count === 1 ? "1 step" : `${count} steps`;
      await this.#note(
        `${text} left out: gradients overflowed, the loss scale is ${scaler.scale}`,
      );
      this.#skipped = scaler.skipped;
    }
    const line = `step ${step}/${steps}  ${this.#figures()}`.trimEnd();
    const left = this.#left(); // unknown where every step so far has overflowed
    if (this.#terminal) await folder?.log(line);
    else await this.#note(Number.isNaN(left) ? line : `${line}, ${duration(left)} left`);
  }

  /** Logs images that any rank has found damaged since the last time. */
  async #logDamaged(): Promise<void> {
    const { trainee, folder, dataset } = this.#run;
    const own = damagedIn(dataset, this.#logged);
    this.#logged += own.length;
    for (const text of (await gather(trainee.world, own)).flat()) {
      if (this.#damaged.has(text)) continue; // by another rank, in a pass before
      this.#damaged.add(text);
      await folder?.log(`left out ${text}`);
    }
  }

  #figures(): string {
    const { trainee, history: { last } } = this.#run;
    if (!last) return "";
    const { stepsPerSecond, imagesPerSecond } = last;
    return `${trainee.kind.figures(last)}, ${rateText(stepsPerSecond, "steps")}, ` +
      `${rateText(imagesPerSecond, "images")}${waitingText(last)}`;
  }

  #left(): number {
    const { trainee, steps, history } = this.#run;
    return (steps - trainee.step) / (history.last?.stepsPerSecond ?? NaN);
  }

  #show(): void {
    const { trainee, steps } = this.#run;
    if (this.#terminal) this.#progress.show(trainee.step, steps, this.#figures());
  }

  async #note(message: string): Promise<void> {
    const { folder } = this.#run;
    if (!folder) return;
    this.#progress.end();
    console.log(message);
    await folder.log(message);
  }

  async #draw(): Promise<void> {
    const { trainee, folder } = this.#run;
    await onRankZero(trainee.world, async () => {
      const png = folder && await trainee.draw();
      if (png) await folder.keepPictures(trainee.step, png);
    });
  }

  /** Evaluates samples, and keeps a checkpoint where they are the best so far. */
  async #evaluate(position: SamplerPosition): Promise<void> {
    const { trainee, folder, history, stopping } = this.#run;
    const evaluation = await trainee.evaluate(stopping);
    const isBest = await fromRankZero(
      trainee.world,
      async () => evaluation !== null && await this.#isBest(evaluation),
    );
    if (isBest) await this.#saveBest(position);
    if (!evaluation) return;
    history.add(evaluation);
    await folder?.measure(evaluation);
    const { step, seconds } = evaluation;
    const kept = isBest ? `; the best so far, kept as ${BEST}` : "";
    await this.#note(
      `step ${step}: ${evaluationText(evaluation)}${kept} (${duration(seconds)})`,
    );
  }

  /**
   * Whether an evaluation is better than that of the best checkpoint there is: one of later steps is
   * from before the run went back, and of others it has to be known what they came to.
   */
  async #isBest(evaluation: Evaluation): Promise<boolean> {
    const { folder, history } = this.#run;
    const best = await folder?.bestStep() ?? null;
    if (best === null || best >= evaluation.step) return true;
    const before = history.evaluationAt(best);
    if (before === undefined || !isComparable(before, evaluation)) return true;
    return evaluation.frechetDistance < before.frechetDistance;
  }

  async #saveBest(position: SamplerPosition): Promise<void> {
    const { trainee, folder } = this.#run;
    await agreeOnTrainee(trainee);
    const state = await this.#state();
    await folder?.saveBest((path) => saveTrainee(path, trainee, { position, state }));
    this.#best = trainee.step;
  }

  /** What a checkpoint has beside tensors and position. */
  async #state(): Promise<Record<string, unknown>> {
    const { unread } = this.#meter;
    return { ...await this.#run.trainee.state(), ...(unread === null ? {} : { unread }) };
  }

  async #save(position: SamplerPosition): Promise<void> {
    await this.#drainRecords();
    const { trainee, folder } = this.#run;
    const { step, settings } = trainee;
    await agreeOnTrainee(trainee);
    const state = await this.#state();
    await folder?.save(
      step,
      settings.keep,
      (path) => saveTrainee(path, trainee, { position, state }),
    );
    this.#saved = step;
    await folder?.log(`checkpoint of step ${step}`);
  }

  async #report(ended: string | null): Promise<void> {
    const now = performance.now();
    if (ended === null && now - this.#reported < REPORT_EVERY) return;
    this.#reported = now;
    const { trainee, folder, history, summary, steps } = this.#run;
    if (!folder) return;
    if (this.#best === undefined) this.#best = await folder.bestStep();
    const html = reportHtml({
      title: basename(folder.path),
      summary,
      steps,
      history,
      pictures: trainee.kind.pictures,
      drawn: folder.drawn,
      pictureOf: (step) => folder.pictureOf(step),
      caption: trainee.caption,
      best: this.#best,
      ended,
    });
    await folder.report(html);
  }
}
