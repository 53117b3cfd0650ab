/**
 * Fine-tuning: the weights of one model as the start of another, which may have other classes,
 * another size, other patches, channels or process. What fits is taken, the rest starts anew.
 */
import { hostTensor, toFloat32 } from "../io/mod.ts";
import { loadWeights, ModuleWeights } from "../nn/mod.ts";
import { type HostTensor, type Shape, shapeText, type TensorSource } from "../tensor/mod.ts";
import type { DiT } from "../dit/mod.ts";
import type { ModelConfig } from "./config.ts";

/** Weights and what they are of. */
export interface TrainedModel {
  /** What the model is. */
  readonly config: ModelConfig;
  /** Its weights, under the original's names. */
  readonly source: TensorSource;
}

/** What became of some weights. */
export interface TransferRow {
  /** What was done with them. */
  readonly how: "taken" | "in part" | "anew" | "left out";
  /** Names, or beginnings of names, of the weights. */
  readonly names: readonly string[];
  /** Why, or which part; empty where all of it was taken. */
  readonly note: string;
}

const POSITIONS = "pos_embed";
const LABELS = "y_embedder.embedding_table.weight";
const LAST = /^final_layer\.linear\.(weight|bias)$/;

/**
 * Copies what fits of a trained model into a fresh one.
 *
 * Positions are those of the fresh model's size, but where the other learned its own at that size. Rows
 * of the label table go by the names of classes, those of one name in their order, or, where there
 * are as many and no name is the same, by their numbers; the row of the null class is moved. Of a last
 * layer that also predicts the variance, a model that does not takes the rest. Blocks beyond those of
 * either model start anew, or are left out.
 *
 * @param model Fresh, of `config`.
 * @returns what was done with all weights of either.
 * @throws {RangeError} where the models are of different families: of other widths, or heads.
 */
export async function transferWeights(
  model: DiT,
  config: ModelConfig,
  from: TrainedModel,
): Promise<TransferRow[]> {
  checkFamily(config, from);
  const own = new ModuleWeights(model);
  const { source } = from;
  const parts = new Map<string, () => Promise<HostTensor>>();
  const rows: TransferRow[] = [];
  for (const name of own.keys()) {
    const { shape } = own.info(name);
    if (name === POSITIONS) {
      const side = Math.sqrt(shape[1]!);
      if (!source.has(name) || !isSame(shape, source.info(name).shape)) {
        rows.push({ how: "anew", names: [name], note: `for ${side}x${side} tokens` });
        continue;
      }
      const areFixed = await areNear(own, source, name); // and there already, not rounded
      if (!areFixed) parts.set(name, () => source.read(name));
      rows.push({ how: "taken", names: [name], note: areFixed ? "" : "learned" });
    } else if (!source.has(name)) {
      const block = Number(/^blocks\.(\d+)/.exec(name)?.[1] ?? -1);
      const note = block < from.config.dit.depth ? "not in it" : "beyond its blocks";
      rows.push({ how: "anew", names: [name], note });
    } else if (name === LABELS) {
      const table = labelRows(config, from.config);
      parts.set(name, () => copyRows(own, source, name, table.rows));
      rows.push({ how: table.isWhole ? "taken" : "in part", names: [name], note: table.note });
    } else if (isSame(shape, source.info(name).shape)) {
      parts.set(name, () => source.read(name));
      rows.push({ how: "taken", names: [name], note: "" });
    } else if (LAST.test(name) && hasOtherVariance(config, from.config)) {
      parts.set(name, () => copyRows(own, source, name, outputRows(config, from.config)));
      const note = config.dit.learnSigma ? "the variance anew" : "without the variance";
      rows.push({ how: "in part", names: [name], note });
    } else {
      const was = shapeText(source.info(name).shape);
      rows.push({ how: "anew", names: [name], note: `${was} there, ${shapeText(shape)} here` });
    }
  }
  const left = source.keys().filter((name) => !own.has(name));
  if (left.length > 0) {
    rows.push({ how: "left out", names: left, note: "not in this model" });
  }
  await loadWeights(model, {
    keys: () => [...parts.keys()],
    info: (name) => own.info(name),
    read: (name) => parts.get(name)!(),
  }, { strict: false });
  return joined(rows, own.keys(), source.keys());
}

/** Refuses models of which hardly a weight would fit. */
function checkFamily({ name, dit }: ModelConfig, from: TrainedModel): void {
  const other = from.config.dit;
  for (const key of ["hiddenSize", "numHeads"] as const) {
    if (dit[key] === other[key]) continue;
    throw new RangeError(
      `expected weights with a ${key} of ${dit[key]}, as ${name} has, but those of ` +
        `${from.config.name} in ${from.source.name} have ${other[key]}`,
    );
  }
}

/** Rows of a table: for each of this model's the one of the other to copy, or null. */
interface LabelRows {
  readonly rows: readonly (number | null)[];
  readonly isWhole: boolean;
  readonly note: string;
}

/** Which rows of the label table come from where. */
function labelRows(to: ModelConfig, from: ModelConfig): LabelRows {
  const names = to.classNames;
  const places = placesOf(from.classNames);
  const own = placesOf(names);
  const count = to.dit.numClasses;
  const byNumber = count === from.dit.numClasses &&
    (places.size === 0 || names.every((name) => !places.has(name)));
  const rows = Array.from(
    { length: count },
    (_, i): number | null => {
      if (byNumber) return i;
      const name = names[i] ?? "";
      return places.get(name)?.[own.get(name)?.indexOf(i) ?? 0] ?? null;
    },
  );
  const found = rows.filter((row) => row !== null).length;
  const hasNull = to.nullClass !== null && from.nullClass !== null;
  if (to.nullClass !== null) rows.push(from.nullClass);
  const isWhole = rows.every((row, i) => row === i);
  const moved = hasNull && from.nullClass !== to.nullClass
    ? `; that of no class moved from ${from.nullClass} to ${to.nullClass}`
    : to.nullClass !== null && !hasNull
    ? "; that of no class anew"
    : "";
  const areRenamed = byNumber && places.size > 0 && names.length > 0;
  const note = isWhole
    ? areRenamed ? "by the numbers of classes, as none has the same name" : ""
    : `${found} of ${count} classes by their ${byNumber ? "numbers" : "names"}, ` +
      `${count - found} anew${moved}`;
  const unclear = byNumber ? [] : [...own].flatMap(([name, { length }]) => {
    const there = places.get(name)?.length ?? 0;
    return Math.max(there, length) < 2 || there === 0 || there === length
      ? []
      : [`${there} classes there and ${length} here are called ${name}, taken in their order`];
  });
  return { rows, isWhole, note: [note, ...unclear].filter((text) => text !== "").join("; ") };
}

/** Which classes have each name: several may have one, such as the two cranes of ImageNet. */
function placesOf(names: readonly string[]): Map<string, number[]> {
  return Map.groupBy(names.keys(), (i) => names[i]!);
}

/** Whether of two models that are alike in channels and patches one alone predicts the variance. */
function hasOtherVariance({ dit: a }: ModelConfig, { dit: b }: ModelConfig): boolean {
  return a.learnSigma !== b.learnSigma && a.inChannels === b.inChannels &&
    a.patchSize === b.patchSize;
}

/** Rows of a last layer, [P P channels]: pixel by pixel the channels, then their variances. */
function outputRows({ dit: to }: ModelConfig, { dit: from }: ModelConfig): (number | null)[] {
  const { inChannels: c, patchSize: p } = to;
  const [width, other] = [to, from].map(({ learnSigma }) => learnSigma ? 2 * c : c) as [
    number,
    number,
  ];
  return Array.from({ length: p * p * width }, (_, row) => {
    const [pixel, channel] = [Math.floor(row / width), row % width];
    return channel < other ? pixel * other + channel : null;
  });
}

/** This model's tensor with some of its rows from the other's. */
async function copyRows(
  own: ModuleWeights,
  source: TensorSource,
  name: string,
  rows: readonly (number | null)[],
): Promise<HostTensor> {
  const { shape } = own.info(name);
  const into = toFloat32(await own.read(name));
  const given = toFloat32(await source.read(name));
  const size = into.length / shape[0]!;
  rows.forEach((row, i) => {
    if (row !== null) into.set(given.subarray(row * size, (row + 1) * size), i * size);
  });
  return hostTensor(into, shape);
}

/** What positions are off the sines and cosines at most that were averaged, or kept in f16. */
const POSITION_ERROR = 1e-3;

/** Whether a tensor is the same in both, but for rounding. */
async function areNear(a: TensorSource, b: TensorSource, name: string): Promise<boolean> {
  const [x, y] = [toFloat32(await a.read(name)), toFloat32(await b.read(name))];
  return x.every((value, i) => Math.abs(value - y[i]!) < POSITION_ERROR);
}

function isSame(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((size, i) => size === b[i]);
}

/**
 * Names up to what they have in common: `blocks.0-27`, `blocks.0-3.mlp`, `t_embedder`.
 *
 * @param all Of a model: what is said of a beginning is said of all names that have it.
 */
function shortened(names: readonly string[], all: readonly string[]): string[] {
  const said = new Set(names);
  const isWhole = (start: string) =>
    all.every((name) => !name.startsWith(`${start}.`) || said.has(name));
  const others = new Set<string>();
  const blocks = new Map<string, number[]>(); // by what stands behind the number
  for (const name of names) {
    const parts = name.split(".");
    const least = /^blocks\.\d+\./.test(name) ? 2 : 1;
    const starts = parts.map((_, i) => parts.slice(0, i + 1).join(".")).slice(least - 1);
    const start = starts.find(isWhole) ?? name;
    if (least === 1) others.add(start);
    else {
      const layer = start.split(".").slice(2).map((part) => `.${part}`).join("");
      const numbers = blocks.get(layer) ?? [];
      if (!numbers.includes(Number(parts[1]))) numbers.push(Number(parts[1]));
      blocks.set(layer, numbers);
    }
  }
  return [...others, ...Array.from(blocks, ([layer, numbers]) => `${rangeText(numbers)}${layer}`)];
}

/** Such as `blocks.0-3`, or `blocks.0,2`. */
function rangeText(blocks: readonly number[]): string {
  const numbers = [...blocks].sort((a, b) => a - b);
  const [first, last] = [numbers[0]!, numbers.at(-1)!];
  const isRange = first !== last && numbers.length === last - first + 1;
  return `blocks.${isRange ? `${first}-${last}` : numbers.join(",")}`;
}

/** Rows of which the same is said as one, those that are taken first. */
function joined(
  rows: readonly TransferRow[],
  own: readonly string[],
  other: readonly string[],
): TransferRow[] {
  const found = Map.groupBy(rows, ({ how, note }) => `${how} ${note}`);
  return [...found.values()]
    .map((same) => ({ ...same[0]!, names: same.flatMap(({ names }) => names) }))
    .map((row) => {
      const all = row.how === "left out" ? other : own;
      return { ...row, names: row.names.length > 1 ? shortened(row.names, all) : row.names };
    })
    .sort((a, b) => Number(b.how === "taken") - Number(a.how === "taken"));
}
