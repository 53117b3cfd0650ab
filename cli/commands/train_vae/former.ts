/** Folders of autoencoders from before they had checkpoints and records as models have. */
import { join } from "@std/path";
import { DIFFUSERS_FILES } from "../../model/weight_file.ts";
import { exists, readJson, readLines } from "../../shared/files.ts";

/** What such a folder did not have: files of these names are of others. */
const LATER = ["run.json", "report.html", "log.txt"] as const;

/**
 * Whether a folder with a `training.safetensors` is one that was trained in, and not one of others
 * that it was copied to: the measurements are a run's, and so is a configuration beside them.
 */
export async function isFormer(folder: string): Promise<boolean> {
  const has = (name: string): Promise<boolean> => exists(join(folder, name));
  for (const name of LATER) if (await has(name)) return false;
  const results = ["config.json", ...DIFFUSERS_FILES];
  const hasResult = (await Promise.all(results.map(has))).includes(true);
  // a run that left an autoencoder had measured something
  if (!await has("metrics.jsonl")) return !hasResult;
  return await areMetrics(join(folder, "metrics.jsonl")) &&
    (!await has("config.json") || await isAutoencoder(join(folder, "config.json")));
}

/** By the first line: there may be any number of them. */
async function areMetrics(path: string): Promise<boolean> {
  try {
    for await (const line of readLines(path)) {
      const { step, loss, kl } = JSON.parse(line);
      return [step, loss, kl].every((value) => typeof value === "number");
    }
  } catch {
    return false;
  }
  return true;
}

async function isAutoencoder(path: string): Promise<boolean> {
  const { _class_name: name } = await readJson(path).catch((): Record<string, unknown> => ({}));
  return name === "AutoencoderKL";
}
