/** From what the visitor has chosen to the pictures that are asked for. */
import type { ModelInfo, PictureRequest, SampleRequest } from "../../protocol.ts";
import { MOST_SEED } from "../../read_request.ts";
import type { Parameters } from "./parameters.ts";

/** The request that parameters mean. */
export function requestOf(parameters: Parameters): SampleRequest {
  const { model, sampler, steps, eta, guidance, interval } = parameters;
  return { model, pictures: picturesOf(parameters), sampler, steps, eta, guidance, interval };
}

/** The pictures that parameters mean, in the order in which they are shown. */
export function picturesOf(parameters: Parameters): PictureRequest[] {
  const { mode, labels, otherLabel, seed, otherSeed, count, frames } = parameters;
  const label = labels[0]!;
  const amounts = Array.from({ length: frames }, (_, i) => i / (frames - 1));
  switch (mode) {
    case "pictures":
      return labels.flatMap((label) =>
        Array.from({ length: count }, (_, i) => ({ label, seed: (seed + i) % (MOST_SEED + 1) }))
      );
    case "variations":
      return variations(parameters);
    case "seeds":
      return amounts.map((amount) => ({ label, seed, towardsSeed: { seed: otherSeed, amount } }));
    case "classes":
      return amounts.map((amount) => ({
        label,
        seed,
        towardsLabel: { label: otherLabel, amount },
      }));
  }
}

/** A square with the picture itself in its middle; rings further out are further from it. */
function variations({ labels, seed, around, strength }: Parameters): PictureRequest[] {
  const label = labels[0]!;
  const side = Math.sqrt(around + 1);
  const radius = (side - 1) / 2;
  return Array.from({ length: side * side }, (_, i) => {
    const ring = Math.max(Math.abs(i % side - radius), Math.abs(Math.floor(i / side) - radius));
    if (ring === 0) return { label, seed };
    const towardsSeed = { seed: mixed(seed, i), amount: strength * ring / radius };
    return { label, seed, towardsSeed };
  });
}

/** A seed that depends on another and a number, and looks like neither (Murmur3's last steps). */
function mixed(seed: number, index: number): number {
  let x = (seed ^ Math.imul(index + 1, 0x9e3779b1)) >>> 0;
  x = Math.imul(x ^ x >>> 16, 0x85ebca6b);
  x = Math.imul(x ^ x >>> 13, 0xc2b2ae35);
  return (x ^ x >>> 16) >>> 0;
}

/** What a picture is called: its class and seed, and what it is on the way to. */
export function captionOf(
  { label, seed, towardsSeed, towardsLabel }: PictureRequest,
  { classNames }: Pick<ModelInfo, "classNames">,
): string {
  const name = (label: number) => shortName(classNames[label] ?? String(label));
  const percent = (amount: number) => `${Math.round(100 * amount)}%`;
  if (towardsLabel && towardsLabel.amount > 0) {
    return `${name(label)} → ${name(towardsLabel.label)} ${percent(towardsLabel.amount)}`;
  }
  if (towardsSeed && towardsSeed.amount > 0) {
    return `${name(label)} · seed ${seed} → ${towardsSeed.seed} ${percent(towardsSeed.amount)}`;
  }
  return `${name(label)} · seed ${seed}`;
}

/** The first of the names that mean the same: `tench` of `tench, Tinca tinca`. */
export function shortName(name: string): string {
  return name.split(",", 1)[0]!;
}

/** What a drawing is called, by its pictures' captions. */
export function titleOf(
  { mode, otherSeed }: Pick<Parameters, "mode" | "otherSeed">,
  captions: readonly string[],
): string {
  const first = captions[0] ?? "";
  switch (mode) {
    case "pictures":
      return captions.length > 1 ? `${first} and ${captions.length - 1} more` : first;
    case "variations":
      return `Variations of ${captions[(captions.length - 1) / 2] ?? first}`;
    case "seeds":
      return `${first} to ${otherSeed}`;
    case "classes":
      return `${first} to ${captions.at(-1)?.replaceAll(/^.*→ | \d+%$/g, "") ?? ""}`;
  }
}
