/**
 * Checkpoints as files: written whole or not at all, `checkpoints/0001000.safetensors`.
 *
 * Tensors are named by section: `model.*`, `ema.*`, `optimizer.*`, `scaler.*`. What is not a tensor
 * is JSON in the file's `__metadata__`. A file that is only to be sampled from (the demo's weights)
 * has the section `ema` alone, as f16, and no training state.
 */
import {
  foreignKindOf,
  FormatError,
  isTorch,
  SafetensorsFile,
  type SavableTensor,
  saveSafetensors,
} from "@dit/core/io";
import {
  Checkpoint,
  CHECKPOINT_FORMAT,
  type CheckpointKind,
  checkpointMetadata,
  ConfigError,
} from "@dit/core/pipeline";
import type { SamplerPosition } from "@dit/data";
import { CommandError, messageOf } from "../shared/errors.ts";
import { toCommandError } from "../shared/failures.ts";

/** What is written of that. Plain JSON. */
export interface WrittenHeader {
  /** The kind of trainee. */
  readonly trainee: string;
  /** Optimiser steps taken. */
  readonly step: number;
  /** What is trained. */
  readonly config: object;
  /** Null in files that are only to be sampled from. */
  readonly training:
    | {
      readonly position: SamplerPosition;
      readonly settings: object;
      readonly [name: string]: unknown;
    }
    | null;
  /** Guidance to sample with, in files that are only for that. */
  readonly guidance?: number;
}

/** Tensors of a checkpoint that is written, by section and name. */
export type Sections = Readonly<Record<string, ReadonlyMap<string, SavableTensor>>>;

/**
 * Writes a checkpoint: to a temporary file, synced, then renamed.
 *
 * @throws {CommandError} where it cannot be written; nothing is left behind then.
 */
export async function writeCheckpoint(
  path: string,
  header: WrittenHeader,
  sections: Sections,
): Promise<void> {
  const tensors = new Map<string, SavableTensor>();
  for (const [section, state] of Object.entries(sections)) {
    for (const [name, tensor] of state) tensors.set(`${section}.${name}`, tensor);
  }
  try {
    await saveSafetensors(path, tensors, checkpointMetadata(header));
  } catch (error) {
    throw new CommandError(`could not write ${path}: ${messageOf(error)}`, { cause: error });
  }
}

/** Whether a file says that it is a checkpoint of `deno task train`. */
export async function isCheckpoint(path: string): Promise<boolean> {
  if (path.endsWith(".json") || await isTorch(path)) return false;
  using file = await SafetensorsFile.open(path);
  return file.metadata.get("format") === CHECKPOINT_FORMAT;
}

/**
 * Opens a checkpoint.
 *
 * @param kind What it has to hold.
 * @param instead What may be done with a file that holds weights alone, for the message.
 * @throws {CommandError} where the file is missing, damaged, or another kind of file.
 */
export async function openCheckpoint<Config>(
  path: string,
  kind: CheckpointKind<Config>,
  instead?: string,
): Promise<Checkpoint<Config>> {
  const advice = instead === undefined ? "" : `; ${instead}`;
  let file: SafetensorsFile;
  try {
    file = await SafetensorsFile.open(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) {
      throw new CommandError(`${path}: no such checkpoint`, { cause: error });
    }
    if (!(error instanceof FormatError)) throw error;
    if (await isTorch(path)) {
      throw new CommandError(
        `${path}: expected a checkpoint of \`deno task ${kind.command}\`, a safetensors file, but ` +
          `found a file of PyTorch${advice}`,
        { cause: error },
      );
    }
    const remedy = await isForeign(path)
      ? "" // the message says what to do
      : ". The checkpoint is damaged: use another one of its folder";
    throw new CommandError(`${messageOf(error)}${remedy}`, { cause: error });
  }
  try {
    return Checkpoint.of(file, kind);
  } catch (error) {
    const isNone = !["header", "state"].some((key) => file.metadata.has(key));
    if (!isNone || !(error instanceof ConfigError)) throw toCommandError(error);
    throw new CommandError(`${messageOf(error)}${advice}`, { cause: error });
  }
}

/** The step of a checkpoint of any kind; null where there is none that can be read. */
export async function stepOf(path: string): Promise<number | null> {
  try {
    using file = await SafetensorsFile.open(path);
    const { step } = JSON.parse(file.metadata.get("header") ?? "null") ?? {};
    return Number.isSafeInteger(step) ? step : null;
  } catch (error) {
    if (error instanceof FormatError || error instanceof SyntaxError) return null;
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

/** Whether a file is of another kind, such as a pointer of Git LFS, rather than damaged. */
async function isForeign(path: string): Promise<boolean> {
  using file = await Deno.open(path);
  const start = new Uint8Array(1024);
  const length = await file.read(start) ?? 0;
  return length > 0 && foreignKindOf(start.subarray(0, length)) !== undefined;
}
