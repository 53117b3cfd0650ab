/** Name templates: `blocks.{i}.attn` stands for `blocks.0.attn`, `blocks.1.attn`, ... */
import { FormatError, quote } from "../errors.ts";
import type { TensorSource } from "../../tensor/mod.ts";

/** Numbers that stand in a template's braces. */
export type Indices = Readonly<Record<string, number>>;

/** A pattern for the names a template stands for, with what follows a dot as group `rest`. */
export function templatePattern(template: string): RegExp {
  const escaped = template.replaceAll(".", "\\.").replace(/\{(\w+)\}/g, "(?<$1>0|[1-9]\\d{0,3})");
  return new RegExp(`^${escaped}\\.(?<rest>.+)$`);
}

/** The template with its numbers filled in. */
export function fillTemplate(template: string, indices: Indices): string {
  return template.replace(/\{(\w+)\}/g, (_, name: string) => String(indices[name]));
}

/** One more than the largest `{i}` among the names that any of the patterns matches. */
export function countIndices(source: TensorSource, pattern: RegExp): number {
  let count = 0;
  for (const key of source.keys()) {
    const match = pattern.exec(key);
    if (match) count = Math.max(count, Number(match.groups!.i) + 1);
  }
  return count;
}

/** Throws the error for names no table knows, listing them. */
export function unknownNames(source: TensorSource, layout: string, names: string[]): never {
  throw new FormatError(
    source.name,
    "tensor names",
    `names of ${layout}`,
    listNames(names),
  );
}

/** What weights are of, by names that no other model has. */
const FAMILIES: readonly (readonly [names: RegExp, what: string])[] = [
  [/(?:^|\.)(?:x_embedder|pos_embed)\.proj\.weight$/, "a DiT"],
  [/(?<!coder\.)(?<![\w])(?:down_blocks|input_blocks)\.\d/, "a U-Net"],
  [/(?:^|\.)(?:en|de)coder\.(?:conv_in|mid_block|mid)\./, "an autoencoder"],
  [/(?:^|\.)Mixed_\d[a-e]\./, "an Inception network"],
];

/** What a source holds instead of what is looked for: the model where it is known, and some names. */
export function describeNames(names: readonly string[]): string {
  if (names.length === 0) return "no tensors";
  const family = FAMILIES.find(([pattern]) => names.some((name) => pattern.test(name)));
  return family ? `those of ${family[1]}: ${listNames(names)}` : listNames(names);
}

/** The first few names, and how many there are. */
export function listNames(names: readonly string[]): string {
  const shown = names.slice(0, 6).map(quote).join(", ");
  return names.length > 6 ? `${shown}, ... (${names.length} in all)` : shown;
}
