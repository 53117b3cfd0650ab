/**
 * Names of weights as trainers leave them: below the name of a property (`model.`), of a wrapper
 * (DataParallel's `module.`, `torch.compile`'s `_orig_mod.`), or both, and among those of other
 * models.
 */
import { FormatError } from "../errors.ts";
import type { HostTensor, TensorInfo, TensorSource } from "../../tensor/mod.ts";
import { missing } from "../tensor_source.ts";
import { listNames } from "./names.ts";

/** A kind of model whose weights are looked for. */
export type ModelKind = "dit" | "vae";

/** Names that only the weights of a kind of model have, in each of their layouts. */
const ANCHORS: Readonly<Record<ModelKind, readonly string[]>> = {
  dit: ["x_embedder.proj.weight", "pos_embed.proj.weight"],
  vae: ["encoder.conv_in.weight", "decoder.conv_in.weight"],
};

/** What wrappers of modules inside a model add to names: compilers, checkpointing, sharding. */
const INNER_WRAPPERS = /(?<=^|\.)(?:_orig_mod|_checkpoint_wrapped_module|_fsdp_wrapped_module)\./g;

/** What is not of a model although it stands beside its names without a prefix of their own. */
const COMPANIONS =
  /^(?:n_averaged$|(?:loss|discriminator|lpips|perceptual_loss|vae|first_stage_model|cond_stage_model|text_encoder|model_ema|ema_model|ema)\.)/;

/** Names of averaged weights. */
const AVERAGED = /(?:^|[._])(?:ema|averaged?|shadow)(?:[._]|$)/i;

/** Weights of one model under their own names. */
export interface Unwrapped {
  /** The model's tensors alone. */
  readonly source: TensorSource;
  /** What was taken off every name: `module.`, `_orig_mod.`; empty where nothing was. */
  readonly prefix: string;
  /** Names that are left out, since they belong to something else. */
  readonly others: readonly string[];
}

/** Whether names hold the weights of a kind of model, below any prefix. */
export function holdsModel(names: Iterable<string>, kind: ModelKind): boolean {
  return prefixesOf(Array.from(names, withoutWrappers), kind).length > 0;
}

/**
 * The weights of a kind of model without the prefix that all their names have. Where there are
 * averaged weights and others, one of them is chosen. Weights without any such model come back as
 * they are.
 *
 * @param averaged Whether averaged weights are wanted where there are both.
 * @throws {FormatError} If there are several such models, naming their prefixes.
 */
export function unwrapNames(source: TensorSource, kind: ModelKind, averaged = true): Unwrapped {
  const originals = new Map<string, string>();
  const wrappers = new Set<string>();
  for (const name of source.keys()) {
    const clean = withoutWrappers(name);
    if (originals.has(clean)) return { source, prefix: "", others: [] }; // one of several wrappers
    originals.set(clean, name);
    for (const [wrapper] of name.matchAll(INNER_WRAPPERS)) wrappers.add(wrapper);
  }
  const prefixes = prefixesOf([...originals.keys()], kind);
  if (prefixes.length === 0) return { source, prefix: "", others: [] };
  const prefix = choose(source.name, prefixes, averaged);
  const names = new Map<string, string>();
  const others: string[] = [];
  for (const [clean, original] of originals) {
    const isOther = prefix === "" ? COMPANIONS.test(clean) : !clean.startsWith(prefix);
    if (isOther) others.push(original);
    else names.set(clean.slice(prefix.length), original);
  }
  const removed = prefix + [...wrappers].join("");
  if (removed === "" && others.length === 0) return { source, prefix, others };
  return { source: new RenamedSource(source, names), prefix: removed, others };
}

function withoutWrappers(name: string): string {
  return name.replace(INNER_WRAPPERS, "");
}

/** What stands before the names of each such model. */
function prefixesOf(names: readonly string[], kind: ModelKind): string[] {
  const found = new Set<string>();
  for (const name of names) {
    for (const anchor of ANCHORS[kind]) {
      if (name === anchor || name.endsWith(`.${anchor}`)) {
        found.add(name.slice(0, name.length - anchor.length));
      }
    }
  }
  return [...found];
}

function choose(file: string, prefixes: readonly string[], averaged: boolean): string {
  const wanted = prefixes.filter((prefix) => AVERAGED.test(prefix) === averaged);
  const left = wanted.length > 0 ? wanted : prefixes;
  if (left.length === 1) return left[0]!;
  if (left.includes("")) return "";
  throw new FormatError(
    file,
    "tensor names",
    "weights of one model",
    `those of several, which begin with ${listNames(left)}`,
  );
}

/** Some tensors of a source under other names. */
class RenamedSource implements TensorSource {
  readonly #source: TensorSource;
  /** Names in the source by the new ones. */
  readonly #names: ReadonlyMap<string, string>;

  constructor(source: TensorSource, names: ReadonlyMap<string, string>) {
    this.#source = source;
    this.#names = names;
  }

  get name(): string {
    return this.#source.name;
  }

  keys(): string[] {
    return [...this.#names.keys()];
  }

  has(key: string): boolean {
    return this.#names.has(key);
  }

  info(key: string): TensorInfo {
    return this.#source.info(this.#original(key));
  }

  async read(key: string): Promise<HostTensor> {
    return await this.#source.read(this.#original(key));
  }

  async readInto(key: string, target: Uint8Array, start = 0): Promise<void> {
    await this.#source.readInto(this.#original(key), target, start);
  }

  #original(key: string): string {
    return this.#names.get(key) ?? missing(this.name, key);
  }
}
