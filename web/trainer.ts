/** What the page asks of the worker that trains a model in the visitor's browser. */
import type { ModelInfo, Picture } from "./protocol.ts";

/** How to train. */
export interface TrainingRequest {
  /** Optimiser steps. */
  readonly steps: number;
  /** Images a step. */
  readonly batchSize: number;
  readonly learningRate: number;
  /** Whole number from 0 to 2^32 - 1. */
  readonly seed: number;
  /** Steps between two sets of samples; 0 for none. */
  readonly sampleEvery: number;
}

/** What the page starts with, and what is trained. */
export interface TrainingInfo {
  /** Such as `DiT-Mini/4, 1,284,920 parameters, on 60,000 digits`. */
  readonly title: string;
  readonly usual: TrainingRequest;
}

/** What happens in training, in this order; each kind may come any number of times but the last. */
export type TrainingEvent =
  /** Data are loaded, in bytes. */
  | { readonly kind: "loading"; readonly done: number; readonly total: number }
  /** A step was taken: its loss, and the seconds of training so far. */
  | {
    readonly kind: "step";
    readonly step: number;
    readonly loss: number;
    readonly seconds: number;
  }
  /** What the averaged weights sample after `step`; picture k is of class `labels[k]`. */
  | {
    readonly kind: "samples";
    readonly step: number;
    readonly pictures: readonly Picture[];
    readonly labels: readonly number[];
  }
  /**
   * Finished, or stopped by {@linkcode Training.stop}: the averaged weights, which can be sampled
   * from as any other model, as a safetensors file.
   */
  | {
    readonly kind: "done";
    readonly step: number;
    readonly seconds: number;
    readonly device: string;
    readonly model: ModelInfo;
    readonly weights: Blob;
  };

/** A training that runs. */
export interface Training {
  /** Resolves after the `done` event; rejects with a message for people, and once it is cancelled. */
  readonly finished: Promise<void>;
  /** Ends it after the step that it is at; the `done` event follows. */
  stop(): void;
  /** Ends it at once; nothing follows. */
  cancel(): void;
}

/** Whatever trains. */
export interface Trainer {
  info(): Promise<TrainingInfo>;
  train(request: TrainingRequest, onEvent: (event: TrainingEvent) => void): Training;
}
