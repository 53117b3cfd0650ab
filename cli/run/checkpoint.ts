/**
 * Checkpoints: one safetensors file each, `checkpoints/0001000.safetensors`, whole or not there.
 *
 * Tensors are named by section: `model.*`, `ema.*`, `optimizer.*`, `scaler.*`. What is not a tensor
 * is JSON in the file's `__metadata__`. A file that is only to be sampled from (the demo's weights)
 * has the section `ema` alone, as f16, and no training state.
 */
import type { TimestepSamplerState } from "@dit/core/diffusion";
import {
  FormatError,
  type HostTensor,
  isTorch,
  type LazyTensor,
  mapSource,
  readAll,
  SafetensorsFile,
  type SavableTensor,
  saveSafetensors,
} from "@dit/core/io";
import type * as nn from "@dit/core/nn";
import type { GeneratorState } from "@dit/core/tensor";
import type { SamplerPosition } from "@dit/data";
import { CommandError, messageOf } from "../shared/errors.ts";
import type { ModelConfig } from "../model/config.ts";
import type { PendingFeedback } from "./records.ts";
import type { TrainSettings } from "../commands/train/settings.ts";

/** Version of the layout; files of a later one are refused. */
const VERSION = 1;
const FORMAT = "dit checkpoint";

/** Kinds of tensors in a checkpoint. */
export type Section = "model" | "ema" | "optimizer" | "scaler";

/** What continues a run exactly, beside the tensors. */
export interface TrainingState {
  /** Where each random stream stands, by purpose. */
  readonly generators: Readonly<Record<string, GeneratorState>>;
  /** Where the next batch comes from. */
  readonly position: SamplerPosition;
  /** What the timestep sampler has learned. */
  readonly timesteps: TimestepSamplerState;
  /** Losses that it has not been told of yet. */
  readonly pendingFeedback: readonly PendingFeedback[];
  /** Updates of the EMA so far, which its warm-up depends on. */
  readonly emaUpdates: number;
  /** How the run was set up. */
  readonly settings: TrainSettings;
}

/** What a checkpoint holds beside its tensors. */
export interface CheckpointHeader {
  /** Optimiser steps taken. */
  readonly step: number;
  /** The model and its process. */
  readonly config: ModelConfig;
  /** Null in files that are only to be sampled from. */
  readonly training: TrainingState | null;
}

/** Tensors of a checkpoint that is written, by section and name. */
export type Sections = Partial<Record<Section, ReadonlyMap<string, SavableTensor>>>;

/**
 * Writes a checkpoint: to a temporary file, synced, then renamed.
 *
 * @throws {CommandError} where it cannot be written; nothing is left behind then.
 */
export async function writeCheckpoint(
  path: string,
  header: CheckpointHeader,
  sections: Sections,
): Promise<void> {
  const tensors = new Map<string, SavableTensor>();
  for (const [section, state] of Object.entries(sections)) {
    for (const [name, tensor] of state) tensors.set(`${section}.${name}`, tensor);
  }
  const metadata = [
    ["format", FORMAT],
    ["version", String(VERSION)],
    ["header", JSON.stringify(header)],
  ] as const;
  try {
    await saveSafetensors(path, tensors, metadata);
  } catch (error) {
    throw new CommandError(`could not write ${path}: ${messageOf(error)}`, { cause: error });
  }
}

/** Whether a file says that it is a checkpoint of `deno task train`. */
export async function isCheckpoint(path: string): Promise<boolean> {
  if (path.endsWith(".json") || await isTorch(path)) return false;
  using file = await SafetensorsFile.open(path);
  return file.metadata.get("format") === FORMAT;
}

/** A checkpoint whose header has been read and whose tensors are read on demand. */
export class Checkpoint implements Disposable {
  /** The file. */
  readonly path: string;
  /** All but the tensors. */
  readonly header: CheckpointHeader;
  readonly #file: SafetensorsFile;

  private constructor(file: SafetensorsFile, header: CheckpointHeader) {
    this.path = file.name;
    this.header = header;
    this.#file = file;
  }

  /**
   * Opens a checkpoint.
   *
   * @throws {CommandError} where the file is missing, damaged, or no checkpoint of this project.
   */
  static async open(path: string): Promise<Checkpoint> {
    let file: SafetensorsFile;
    try {
      file = await SafetensorsFile.open(path);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) {
        throw new CommandError(`${path}: no such checkpoint`, { cause: error });
      }
      if (!(error instanceof FormatError)) throw error;
      throw new CommandError(
        `${messageOf(error)}. The checkpoint is damaged: use another one of its folder`,
        { cause: error },
      );
    }
    try {
      return new Checkpoint(file, headerOf(file));
    } catch (error) {
      file.close();
      throw error;
    }
  }

  /** Whether there are tensors of that kind. */
  has(section: Section): boolean {
    return this.#file.keys().some((key) => key.startsWith(`${section}.`));
  }

  /** Tensors of a section by their names in it, read when they are asked for. */
  section(section: Section): Map<string, LazyTensor> {
    const prefix = `${section}.`;
    const found = new Map<string, LazyTensor>();
    for (const key of this.#file.keys()) {
      if (!key.startsWith(prefix)) continue;
      found.set(key.slice(prefix.length), {
        ...this.#file.info(key),
        read: () => this.#file.read(key),
      });
    }
    return found;
  }

  /** Tensors of a section as `loadStateDict()` takes them. */
  async state(section: Section): Promise<Map<string, HostTensor>> {
    return await readAll(mapSource(this.section(section), this.path));
  }

  /**
   * Loads the weights into a model built by the header's configuration.
   *
   * @param section The averaged weights unless told otherwise.
   */
  async loadInto(model: nn.Module, section: "ema" | "model" = "ema"): Promise<void> {
    if (!this.has(section)) {
      throw new CommandError(`${this.path}: expected ${section} weights but there are none`);
    }
    model.loadStateDict(await this.state(section));
  }

  /** Closes the file. */
  close(): void {
    this.#file.close();
  }

  /** Closes the file, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }
}

function headerOf(file: SafetensorsFile): CheckpointHeader {
  const { metadata, name } = file;
  if (metadata.get("format") !== FORMAT) {
    throw new CommandError(
      `${name}: expected a checkpoint of \`deno task train\` but found other weights`,
    );
  }
  if (Number(metadata.get("version")) > VERSION) {
    throw new CommandError(
      `${name}: expected a checkpoint of version ${VERSION} at most but got version ` +
        `${metadata.get("version")}; use a newer release`,
    );
  }
  try {
    return JSON.parse(metadata.get("header") ?? "");
  } catch (error) {
    throw new CommandError(`${name}: the checkpoint is damaged (${messageOf(error)})`);
  }
}
