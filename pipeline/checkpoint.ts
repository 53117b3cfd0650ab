/**
 * Checkpoints: one safetensors file each, `checkpoints/0001000.safetensors`, whole or not there.
 *
 * Tensors are named by section: `model.*`, `ema.*`, `optimizer.*`, `scaler.*`. What is not a tensor
 * is JSON in the file's `__metadata__`. A file that is only to be sampled from (the demo's weights)
 * has the section `ema` alone, as f16, and no training state.
 */
import {
  type ByteSink,
  type HostTensor,
  type LazyTensor,
  mapSource,
  readAll,
  type SafetensorsFile,
  type SavableTensor,
  writeSafetensors,
} from "../io/mod.ts";
import type * as nn from "../nn/mod.ts";
import { ConfigError, Fields } from "./fields.ts";

/** Version of the layout; files of a later one are refused. */
export const CHECKPOINT_VERSION = 1;
/** What a checkpoint's metadata says that it is, under `format`. */
export const CHECKPOINT_FORMAT = "dit checkpoint";
/** What `deno task train-vae` wrote before autoencoders had checkpoints as models have. */
const FORMER_FORMAT = "dit autoencoder training";

/** What checkpoints of one kind of trainee hold. */
export interface CheckpointKind<Config> {
  /** The name of the kind in files. */
  readonly trainee: string;
  /** The command that writes them. */
  readonly command: string;
  /**
   * Reads what is trained.
   *
   * @throws {ConfigError} naming the field that is not as expected.
   */
  readonly readConfig: (config: Fields) => Config;
}

/** Where the next batch of a run comes from: all that continues its data exactly. Exact in JSON. */
export interface DataPosition {
  /** Pass over the data, from 0. */
  readonly epoch: number;
  /** Batches of that pass that are done. */
  readonly step: number;
  /** Examples in the data, another number of which has another order; older positions have none. */
  readonly size?: number;
}

/** How a checkpoint was trained: what continues its run exactly, beside the tensors. */
export interface SavedTraining {
  /** Where the next batch comes from. */
  readonly position: DataPosition;
  /** How the run was set up. */
  readonly settings: Fields;
  /** Random streams and the like, as the trainee left them; beside position and settings. */
  readonly state: Fields;
}

/** What a checkpoint holds beside its tensors. */
export interface CheckpointHeader<Config> {
  /** Optimiser steps taken. */
  readonly step: number;
  /** What is trained. */
  readonly config: Config;
  /** Null in files that are only to be sampled from. */
  readonly training: SavedTraining | null;
  /** Guidance that its samples were drawn with in training, where the file says it. */
  readonly guidance?: number;
}

/** What a checkpoint says of itself, as metadata of its file. */
export function checkpointMetadata(header: object): [name: string, text: string][] {
  return [
    ["format", CHECKPOINT_FORMAT],
    ["version", String(CHECKPOINT_VERSION)],
    ["header", JSON.stringify(header)],
  ];
}

/**
 * Writes a checkpoint that is only to be sampled from: the averaged weights, and what they are of.
 *
 * @param weights By their names in the model, each fetched when its turn comes.
 */
export async function writeWeights(
  sink: ByteSink,
  { trainee, step, config }: { trainee: string; step: number; config: object },
  weights: ReadonlyMap<string, SavableTensor>,
): Promise<void> {
  const tensors = new Map(Array.from(weights, ([name, tensor]) => [`ema.${name}`, tensor]));
  const header = { trainee, step, config, training: null };
  await writeSafetensors(sink, tensors, checkpointMetadata(header));
}

/** A checkpoint whose header has been read and whose tensors are read on demand. */
export class Checkpoint<Config = unknown> implements Disposable {
  /** The file. */
  readonly path: string;
  /** All but the tensors. */
  readonly header: CheckpointHeader<Config>;
  readonly #file: SafetensorsFile;

  private constructor(file: SafetensorsFile, header: CheckpointHeader<Config>) {
    this.path = file.name;
    this.header = header;
    this.#file = file;
  }

  /**
   * Reads the header of a file, which is closed with the checkpoint.
   *
   * @param kind What it has to hold.
   * @throws {ConfigError} where it is damaged or another kind of file, which is closed then.
   */
  static of<Config>(file: SafetensorsFile, kind: CheckpointKind<Config>): Checkpoint<Config> {
    try {
      return new Checkpoint(file, headerOf(file, kind));
    } catch (error) {
      file.close();
      throw error;
    }
  }

  /** Whether there are tensors of that kind. */
  has(section: string): boolean {
    return this.#file.keys().some((key) => key.startsWith(`${section}.`));
  }

  /** Tensors of a section by their names in it, read when they are asked for. */
  section(section: string): Map<string, LazyTensor> {
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
  async state(section: string): Promise<Map<string, HostTensor>> {
    return await readAll(mapSource(this.section(section), this.path));
  }

  /**
   * Loads the weights into a model built by the header's configuration.
   *
   * @param section The averaged weights by default.
   */
  async loadInto(model: nn.Module, section: "ema" | "model" = "ema"): Promise<void> {
    if (!this.has(section)) {
      throw new ConfigError(`${this.path}: expected ${section} weights but there are none`);
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

function headerOf<Config>(
  { metadata, name }: SafetensorsFile,
  kind: CheckpointKind<Config>,
): CheckpointHeader<Config> {
  const format = metadata.get("format");
  if (format !== CHECKPOINT_FORMAT && format !== FORMER_FORMAT) {
    throw new ConfigError(
      `${name}: expected a checkpoint of \`deno task ${kind.command}\` but found other weights`,
    );
  }
  const version = metadata.get("version") ?? "1";
  if (!(Number(version) <= CHECKPOINT_VERSION)) {
    throw new ConfigError(
      `${name}: expected a checkpoint of version ${CHECKPOINT_VERSION} at most but got version ${version}; ` +
        "use a newer release",
    );
  }
  const header = format === CHECKPOINT_FORMAT
    ? new Fields(parse(metadata.get("header"), name), `${name}: the checkpoint is damaged: `)
    : formerHeader(new Fields(parse(metadata.get("state"), name), `${name}: `));
  const trainee = header.has("trainee") ? header.text("trainee") : "dit"; // older ones have none
  if (trainee !== kind.trainee) {
    throw new ConfigError(
      `${name}: expected a checkpoint of \`deno task ${kind.command}\` but it trains another kind ` +
        `of model (${trainee})`,
    );
  }
  const training = header.has("training") ? trainingOf(header.fields("training")) : null;
  const guidance = training?.settings.has("cfgScale")
    ? training.settings.number("cfgScale")
    : header.has("guidance")
    ? header.number("guidance")
    : undefined;
  return {
    step: header.integer("step"),
    config: kind.readConfig(header.fields("config")),
    training,
    ...(guidance === undefined ? {} : { guidance }),
  };
}

function parse(json: string | undefined, name: string): unknown {
  try {
    return JSON.parse(json ?? "");
  } catch (error) {
    throw new ConfigError(`${name}: the checkpoint is damaged (${(error as Error).message})`);
  }
}

function trainingOf(training: Fields): SavedTraining {
  const position = training.fields("position");
  const { position: _, settings: __, ...state } = training.values;
  return {
    position: {
      epoch: position.integer("epoch"),
      step: position.integer("step"),
      ...(position.has("size") ? { size: position.integer("size", 1) } : {}), // older ones: none
    },
    settings: training.fields("settings"),
    state: new Fields(state, training.at),
  };
}

/** The header of a file from before autoencoders had checkpoints as models have. */
function formerHeader(state: Fields): Fields {
  const { step, noise, ...rest } = state.values;
  const training = { ...rest, generators: { noise } };
  return new Fields({ trainee: "autoencoder", step, config: {}, training }, state.at);
}
