/**
 * A source seen under other names and shapes. Every layout of weights this project reads differs
 * from the others in names, in shapes of the same bytes, and in tensors cut or joined along their
 * first dimension; so each tensor of one layout is a row of byte ranges of tensors of another, and
 * nothing is copied until it is read.
 */
import { FormatError, quote } from "../errors.ts";
import {
  byteCount,
  elementCount,
  HOST_DTYPE_BYTES,
  type HostTensor,
  infoText,
  type TensorInfo,
  tensorInfo,
  type TensorSource,
} from "../../tensor/mod.ts";
import { checkWindow, missing, readWhole } from "../tensor_source.ts";

/** Bytes of a tensor. */
interface Range {
  readonly from: string;
  readonly start: number;
  readonly bytes: number;
}

/** How a tensor of the new layout is made. */
export interface Recipe extends TensorInfo {
  readonly ranges: readonly Range[];
  /** Tensors of the source that must hold the same bytes, because the new layout keeps one. */
  readonly copies?: readonly string[];
}

/** The tensor `from` as it is, or under another shape of as many elements. */
export function whole(source: TensorSource, from: string, shape?: readonly number[]): Recipe {
  const info = source.info(from);
  if (shape && elementCount(shape) !== elementCount(info.shape)) {
    throw new FormatError(
      source.name,
      `tensor ${quote(from)}`,
      `${elementCount(shape)} elements`,
      infoText(info),
    );
  }
  return {
    dtype: info.dtype,
    shape: shape ?? info.shape,
    ranges: [{ from, start: 0, bytes: byteCount(info) }],
  };
}

/** Part `index` of `count` equal parts of `from` along its first dimension. */
export function chunk(source: TensorSource, from: string, index: number, count: number): Recipe {
  const { dtype, shape } = source.info(from);
  const rows = (shape[0] ?? 0) / count;
  if (shape.length === 0 || !Number.isInteger(rows)) {
    throw new FormatError(
      source.name,
      `tensor ${quote(from)}`,
      `a first dimension that ${count} divides`,
      infoText({ dtype, shape }),
    );
  }
  const partShape = [rows, ...shape.slice(1)];
  const bytes = elementCount(partShape) * HOST_DTYPE_BYTES[dtype];
  return { dtype, shape: partShape, ranges: [{ from, start: index * bytes, bytes }] };
}

/** Tensors of one shape joined along their first dimension. */
export function joined(source: TensorSource, from: readonly string[]): Recipe {
  const parts = from.map((key) => whole(source, key));
  const first = parts[0]!;
  for (const [i, part] of parts.entries()) {
    if (infoText(part) !== infoText(first) || part.shape.length === 0) {
      throw new FormatError(
        source.name,
        `tensor ${quote(from[i]!)}`,
        `${infoText(first)}, like ${quote(from[0]!)}`,
        infoText(part),
      );
    }
  }
  return {
    dtype: first.dtype,
    shape: [first.shape[0]! * parts.length, ...first.shape.slice(1)],
    ranges: parts.flatMap((part) => part.ranges),
  };
}

/** `source` seen through recipes, with `constants` added as they are. */
export function remapped(
  source: TensorSource,
  recipes: ReadonlyMap<string, Recipe>,
  constants: ReadonlyMap<string, HostTensor> = new Map(),
): TensorSource {
  return new RemappedSource(source, recipes, constants);
}

class RemappedSource implements TensorSource {
  readonly #source: TensorSource;
  readonly #recipes: ReadonlyMap<string, Recipe>;
  readonly #constants: ReadonlyMap<string, HostTensor>;

  constructor(
    source: TensorSource,
    recipes: ReadonlyMap<string, Recipe>,
    constants: ReadonlyMap<string, HostTensor>,
  ) {
    this.#source = source;
    this.#recipes = recipes;
    this.#constants = constants;
  }

  get name(): string {
    return this.#source.name;
  }

  keys(): string[] {
    return [...this.#constants.keys(), ...this.#recipes.keys()];
  }

  has(key: string): boolean {
    return this.#constants.has(key) || this.#recipes.has(key);
  }

  info(key: string): TensorInfo {
    return tensorInfo(
      this.#constants.get(key) ?? this.#recipes.get(key) ?? missing(this.name, key),
    );
  }

  async read(key: string): Promise<HostTensor> {
    return this.#constants.get(key) ?? await readWhole(this, key);
  }

  async readInto(key: string, target: Uint8Array, start = 0): Promise<void> {
    checkWindow(this.name, key, byteCount(this.info(key)), start, target.byteLength);
    const end = start + target.byteLength;
    const constant = this.#constants.get(key);
    if (constant) {
      target.set(constant.data.subarray(start, end));
      return;
    }
    const recipe = this.#recipes.get(key)!;
    let at = 0;
    for (const range of recipe.ranges) {
      const from = Math.max(start, at);
      const to = Math.min(end, at + range.bytes);
      if (from < to) {
        const part = target.subarray(from - start, to - start);
        await this.#source.readInto(range.from, part, range.start + from - at);
      }
      at += range.bytes;
    }
    for (const copy of recipe.copies ?? []) await this.#checkCopy(recipe, copy, target, start);
  }

  /** Two tensors may become one only if nothing is lost by it. */
  async #checkCopy(
    recipe: Recipe,
    copy: string,
    bytes: Uint8Array,
    start: number,
  ): Promise<void> {
    const other = new Uint8Array(bytes.byteLength);
    const sameInfo = infoText(this.#source.info(copy)) === infoText(recipe);
    if (sameInfo) await this.#source.readInto(copy, other, start);
    if (!sameInfo || other.some((byte, i) => byte !== bytes[i])) {
      throw new FormatError(
        this.name,
        `tensor ${quote(copy)}`,
        `a copy of ${quote(recipe.ranges[0]!.from)}, since the model shares them`,
        "another tensor",
      );
    }
  }
}
