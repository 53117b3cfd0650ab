/** Whether the outputs that a notebook has are those that running it gives. */
import { type ByteImage, decodePng } from "@dit/data";
import { type MediaBundle, type Notebook, type Output, textOf } from "./format.ts";
import type { CellOutputs } from "./run.ts";

/** The tag of cells whose output is another on each machine, as the tool nbval has it. */
const IGNORED = "nbval-ignore-output";

/**
 * How far the pixels of two pictures may be apart, on average, in levels of 256. Processors differ in
 * the last bits of a sum, which is a level here and there; other noise is ten levels and more.
 */
const MOST_APART = 1;

/** The differences, each in a line; none where running gives what is there. */
export async function differences(
  { cells }: Notebook,
  ran: readonly CellOutputs[],
): Promise<string[]> {
  const found: string[] = [];
  for (const { cell, outputs } of ran) {
    const failed = outputs.find((output) => output.output_type === "error");
    if (failed) {
      found.push(`cell ${cell} failed: ${failed.ename}: ${failed.evalue}`);
      continue;
    }
    const { metadata, outputs: kept = [] } = cells[cell]!;
    if (metadata?.tags?.includes(IGNORED)) continue;
    const difference = await outputsDiffer(kept, outputs);
    if (difference !== null) found.push(`cell ${cell}: ${difference}`);
  }
  return found;
}

async function outputsDiffer(
  kept: readonly Output[],
  given: readonly Output[],
): Promise<string | null> {
  const kinds = (outputs: readonly Output[]) =>
    outputs.map(({ output_type }) => output_type).join(", ") || "nothing";
  if (kinds(kept) !== kinds(given)) {
    return `expected ${kinds(kept)}, as it has, but running it gave ${kinds(given)}`;
  }
  for (const [i, output] of given.entries()) {
    const difference = await outputDiffers(kept[i]!, output);
    if (difference !== null) return difference;
  }
  return null;
}

async function outputDiffers(kept: Output, given: Output): Promise<string | null> {
  if (kept.output_type === "stream" && given.output_type === "stream") {
    return textDiffers(
      `${kept.name}: ${textOf(kept.text)}`,
      `${given.name}: ${textOf(given.text)}`,
    );
  }
  if ("data" in kept && "data" in given) return await dataDiffers(kept.data, given.data);
  return null;
}

function textDiffers(kept: string, given: string): string | null {
  if (kept === given) return null;
  return `expected ${JSON.stringify(kept)}, as it has, but running it gave ${
    JSON.stringify(given)
  }`;
}

async function dataDiffers(kept: MediaBundle, given: MediaBundle): Promise<string | null> {
  const types = (data: MediaBundle) => Object.keys(data).sort().join(", ");
  const difference = textDiffers(types(kept), types(given));
  if (difference !== null) return difference;
  for (const [type, value] of Object.entries(given)) {
    const found = type === "image/png"
      ? await picturesDiffer(kept[type] as string, value as string)
      : textDiffers(flat(kept[type]), flat(value));
    if (found !== null) return found;
  }
  return null;
}

/** A value of a media bundle as one text, however its lines are written. */
function flat(value: unknown): string {
  const isText = typeof value === "string" || Array.isArray(value);
  return isText ? textOf(value as string) : JSON.stringify(value);
}

async function picturesDiffer(kept: string, given: string): Promise<string | null> {
  if (kept === given) return null;
  const [a, b] = [await decode(kept), await decode(given)];
  const size = ({ width, height, channels }: ByteImage) => `${width}x${height}x${channels}`;
  if (size(a) !== size(b)) {
    return `expected a picture of ${size(a)}, as it has, but running it gave one of ${size(b)}`;
  }
  const sum = a.pixels.reduce((sum, level, i) => sum + Math.abs(level - b.pixels[i]!), 0);
  const apart = sum / a.pixels.length;
  if (apart <= MOST_APART) return null;
  return `expected the picture that it has but running it gave another, ${
    apart.toFixed(1)
  } levels ` +
    "of 256 apart on average";
}

async function decode(png: string): Promise<ByteImage> {
  return await decodePng(Uint8Array.fromBase64(png));
}
