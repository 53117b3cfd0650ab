/**
 * Trained classifiers on the disk, so that the second evaluation against the same pictures trains
 * nothing: `classifier-0123456789abcdef.safetensors`, named for the hash of pictures and recipe.
 */
import {
  FormatError,
  type HostTensor,
  readAll,
  SafetensorsFile,
  saveSafetensors,
  sha256,
} from "@dit/core/io";
import { StateDictError } from "@dit/core/nn";
import { join } from "@std/path";
import { CommandError, messageOf } from "../shared/errors.ts";
import { type ClassifierConfig, type ClassifierRecipe, ImageClassifier } from "./classifier.ts";
import type { Pictures } from "./pictures.ts";

/** Hexadecimal digits of a key: 64 bits. */
const DIGITS = 16;

/**
 * What tells a classifier from others: the hash of the pictures that it is trained on, of their
 * classes, and of how it is trained.
 */
export async function classifierKey(
  { pixels, labels }: Pictures,
  config: ClassifierConfig,
  recipe: ClassifierRecipe,
): Promise<string> {
  const parts = [await sha256(pixels), await sha256(labels), config, recipe];
  return (await sha256(new TextEncoder().encode(JSON.stringify(parts)))).slice(0, DIGITS);
}

/** A classifier and what it reached. */
export interface KeptClassifier {
  readonly model: ImageClassifier;
  /** The share of held-out pictures that it gets right. */
  readonly accuracy: number;
}

function pathOf(folder: string, key: string): string {
  return join(folder, `classifier-${key}.safetensors`);
}

/**
 * Loads a classifier that was kept.
 *
 * @returns Null where there is none, or where its file is damaged: then it is trained again.
 */
export async function loadClassifier(
  folder: string,
  key: string,
  config: ClassifierConfig,
): Promise<KeptClassifier | null> {
  let weights: Map<string, HostTensor>;
  let accuracy: number;
  try {
    using file = await SafetensorsFile.open(pathOf(folder, key));
    accuracy = Number(file.metadata.get("accuracy"));
    weights = await readAll(file);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof FormatError) return null;
    throw error;
  }
  const model = new ImageClassifier(config);
  try {
    model.loadStateDict(weights);
    if (accuracy >= 0 && accuracy <= 1) return { model, accuracy };
  } catch (error) {
    if (!(error instanceof StateDictError)) {
      model.dispose();
      throw error;
    }
  }
  model.dispose();
  return null;
}

/**
 * Keeps a classifier.
 *
 * @throws {CommandError} where it cannot be written.
 */
export async function saveClassifier(
  folder: string,
  key: string,
  { model, accuracy }: KeptClassifier,
): Promise<void> {
  const path = pathOf(folder, key);
  try {
    await Deno.mkdir(folder, { recursive: true });
    await saveSafetensors(path, model.stateDict(), [["accuracy", String(accuracy)]]);
  } catch (error) {
    throw new CommandError(`could not write ${path}: ${messageOf(error)}`, { cause: error });
  }
}
