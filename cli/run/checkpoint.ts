/**
 * Checkpoints: one safetensors file each, `checkpoints/0001000.safetensors`, whole or not there.
 *
 * Tensors are named by section: `model.*`, `ema.*`, `optimizer.*`, `scaler.*`. What is not a tensor
 * is JSON in the file's `__metadata__`. A file that is only to be sampled from (the demo's weights)
 * has the section `ema` alone, as f16, and no training state.
 */
import {
  foreignKindOf,
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
import type { SamplerPosition } from "@dit/data";
import { CommandError, messageOf } from "../shared/errors.ts";
import { Fields } from "../shared/fields.ts";

/** Version of the layout; files of a later one are refused. */
const VERSION = 1;
const FORMAT = "dit checkpoint";
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
   * @throws {CommandError} naming the field that is not as expected.
   */
  readonly readConfig: (config: Fields) => Config;
}

/** How a checkpoint was trained: what continues its run exactly, beside the tensors. */
export interface SavedTraining {
  /** Where the next batch comes from. */
  readonly position: SamplerPosition;
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
}

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
   * Opens a checkpoint.
   *
   * @param kind What it has to hold.
   * @throws {CommandError} where the file is missing, damaged, or another kind of file.
   */
  static async open<Config>(
    path: string,
    kind: CheckpointKind<Config>,
  ): Promise<Checkpoint<Config>> {
    let file: SafetensorsFile;
    try {
      file = await SafetensorsFile.open(path);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) {
        throw new CommandError(`${path}: no such checkpoint`, { cause: error });
      }
      if (!(error instanceof FormatError)) throw error;
      const advice = await isForeign(path)
        ? "" // the message says what to do
        : ". The checkpoint is damaged: use another one of its folder";
      throw new CommandError(`${messageOf(error)}${advice}`, { cause: error });
    }
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

/** Whether a file is of another kind, such as a pointer of Git LFS, rather than damaged. */
async function isForeign(path: string): Promise<boolean> {
  using file = await Deno.open(path);
  const start = new Uint8Array(1024);
  const length = await file.read(start) ?? 0;
  return length > 0 && foreignKindOf(start.subarray(0, length)) !== undefined;
}

function headerOf<Config>(
  { metadata, name }: SafetensorsFile,
  kind: CheckpointKind<Config>,
): CheckpointHeader<Config> {
  const format = metadata.get("format");
  if (format !== FORMAT && format !== FORMER_FORMAT) {
    throw new CommandError(
      `${name}: expected a checkpoint of \`deno task ${kind.command}\` but found other weights`,
    );
  }
  const version = metadata.get("version") ?? "1";
  if (!(Number(version) <= VERSION)) {
    throw new CommandError(
      `${name}: expected a checkpoint of version ${VERSION} at most but got version ${version}; ` +
        "use a newer release",
    );
  }
  const header = format === FORMAT
    ? new Fields(parse(metadata.get("header"), name), `${name}: the checkpoint is damaged: `)
    : formerHeader(new Fields(parse(metadata.get("state"), name), `${name}: `));
  const trainee = header.has("trainee") ? header.text("trainee") : "dit"; // older ones have none
  if (trainee !== kind.trainee) {
    throw new CommandError(
      `${name}: expected a checkpoint of \`deno task ${kind.command}\` but it trains another kind ` +
        `of model (${trainee})`,
    );
  }
  return {
    step: header.integer("step"),
    config: kind.readConfig(header.fields("config")),
    training: header.has("training") ? trainingOf(header.fields("training")) : null,
  };
}

function parse(json: string | undefined, name: string): unknown {
  try {
    return JSON.parse(json ?? "");
  } catch (error) {
    throw new CommandError(`${name}: the checkpoint is damaged (${messageOf(error)})`);
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
