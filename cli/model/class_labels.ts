/** What the classes of weights are called. */
import type { ClassLabels } from "../shared/class_names.ts";
import { CommandError } from "../shared/errors.ts";
import { exists, readJson } from "../shared/files.ts";
import { pretrainedPath } from "./catalog.ts";
import { classLabelsOf } from "./diffusers_config.ts";
import type { Weights } from "./weights.ts";

/**
 * What classes are called: by the weights, or ImageNet's where they were downloaded.
 *
 * @throws {CommandError} where what was downloaded is not that.
 */
export async function classLabelsFor(
  { config, classLabels }: Pick<Weights, "config" | "classLabels">,
): Promise<ClassLabels> {
  const path = pretrainedPath("imagenet-classes");
  if (classLabels.length > 0 || config.dit.numClasses !== 1000 || !await exists(path)) {
    return classLabels;
  }
  const labels = classLabelsOf((await readJson(path))["id2label"]);
  if (labels.length > 0) return labels;
  throw new CommandError(`${path}: expected id2label in it but found none; download it again`);
}
