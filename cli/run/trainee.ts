/** What a run trains. The run itself (loop, checkpoints, page) is the same for all. */
import type { Scaled } from "./records.ts";
import type { StateDict, StateValue } from "@dit/core/nn";
import type { CheckpointKind, Fields } from "@dit/core/pipeline";
import type { GeneratorState } from "@dit/core/tensor";
import type { Examples } from "@dit/data";
import type { World } from "../distributed/world.ts";
import type { Evaluation } from "./evaluation.ts";
import type { FolderNames } from "./find.ts";
import type { RunFolder } from "./folder.ts";
import type { Metrics } from "./metrics.ts";
import type { StepRecords } from "./records.ts";
import type { Curve } from "./report.ts";

/** Settings that every run has. Plain JSON. */
export interface RunSettings {
  /** Where the examples come from. */
  readonly data: string;
  /** Examples a step, of all ranks. */
  readonly batchSize: number;
  /** Parts that a batch is computed in, each of them shared by all ranks. */
  readonly gradAccum: number;
  /** Everything random follows from it. */
  readonly seed: number;
  /** Whether every other example is mirrored. */
  readonly flip: boolean;
  /** Whether classes are shown equally often, however many examples each has. */
  readonly balance?: boolean;
  /** Steps between two lines of metrics. */
  readonly logEvery: number;
  /** Steps between two checkpoints. */
  readonly ckptEvery: number;
  /** Checkpoints that are kept; 0 for all. */
  readonly keep: number;
  /** Steps between two pictures; 0 for none. */
  readonly sampleEvery: number;
  /** Steps between two evaluations of samples; 0 or nothing for none. */
  readonly evalEvery?: number;
}

/** A kind of trainee: how its runs look on the disk and on the page. */
export interface TraineeKind<Config = unknown> extends CheckpointKind<Config> {
  /** What files of its runs are called. */
  readonly names: FolderNames;
  /** What its pictures are called. */
  readonly pictures: string;
  /** The curves of its page. */
  readonly curves: readonly Curve[];
  /** The figures of a line of progress, without the speed: `loss 0.1234`. */
  readonly figures: (metrics: Metrics) => string;
}

/** Tensors that a checkpoint holds under one name: of a model, of an optimiser. */
export interface Stateful {
  stateDict(): StateDict;
  loadStateDict(state: ReadonlyMap<string, StateValue>): void;
}

/** Where random streams stand, by purpose. */
export type Streams = Readonly<Record<string, GeneratorState>>;

/** The state of a training, and its step. */
export interface Trainee extends Disposable {
  readonly kind: TraineeKind;
  /** Such as `DiT-Mini/4`. */
  readonly name: string;
  /** What is trained. Plain JSON, that `kind.readConfig` reads. */
  readonly config: object;
  readonly settings: RunSettings;
  /** The ranks that share every batch. */
  readonly world: World;
  /** Optimiser steps taken. */
  step: number;
  /** What the steps were like, kept on the device until it is asked for. */
  readonly records: StepRecords;
  /** Whether weights and optimiser are those of a whole step, so that they are worth saving. */
  readonly isSound: boolean;
  /** The line above the pictures of the page. */
  readonly caption: string;

  /**
   * One step on a batch, or on this rank's share of it. Nothing waits for the device but where ranks
   * combine their gradients.
   */
  takeStep(batch: Examples): Promise<void>;
  /** What follows a step and may wait for the device. Always at the same steps. */
  afterStep(): Promise<void>;
  /** Undoes a step that was not taken to its end; `streams` are the random streams before it. */
  abandonStep(streams: Streams): void;
  /** The scale of the loss and how many steps overflowed; null in full precision. */
  lossScale(): Promise<Scaled | null>;
  /**
   * Names the first tensor of a step on a batch, or this rank's share of it, that is not finite; null
   * where only what comes of them is not. Gradients are lost.
   */
  findNonFinite(batch: Examples): Promise<string | null>;

  /** Where the random streams stand. */
  streams(): Streams;
  /** Puts the random streams where they stood. */
  seek(streams: Streams): void;
  /** The tensors that continue it exactly, by section. */
  sections(): Readonly<Record<string, Stateful>>;
  /** What else continues it exactly. Plain JSON. All ranks ask for it together. */
  state(): Promise<Readonly<Record<string, unknown>>>;
  /**
   * Takes that from a checkpoint.
   *
   * @throws {CommandError} naming the field that is not as expected.
   */
  restore(state: Fields): void;

  /** Pictures of what it has learned so far, as a PNG; null where it cannot make any. */
  draw(): Promise<Uint8Array<ArrayBuffer> | null>;
  /**
   * Compares samples with the data, without a trace in what is trained. Collective.
   *
   * @param stopping Whether the run is to stop, and this with it.
   * @returns Null where it was stopped, and on ranks other than 0.
   */
  evaluate(stopping: () => boolean): Promise<Evaluation | null>;
  /** Writes what a finished run has beside its checkpoints; returns lines of output about it. */
  finish(folder: RunFolder): Promise<string[]>;
}
