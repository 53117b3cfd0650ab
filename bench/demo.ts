/**
 * The main job, whole: `deno task train` with no flags, timed, and its final samples shown to a
 * classifier that was trained on real digits only.
 */
import { fromFileUrl } from "@std/path";
import { init, shutdown } from "@dit/core";
import { loadMnist } from "@dit/data";
import { accuracy, classify, recipeFor, trainClassifier } from "../cli/evaluation/classifier.ts";
import type { Pictures } from "../cli/evaluation/pictures.ts";
import { archivePictures, datasetPictures } from "../cli/evaluation/read_pictures.ts";
import type { Report } from "./measure.ts";

/** The commands choose the tier by themselves. */
export const tiered = false;

const RESULTS = new URL("results/demo/", import.meta.url);

/** Runs the suite. */
export async function run(report: Report): Promise<void> {
  await Deno.remove(RESULTS, { recursive: true }).catch(() => {});
  const start = performance.now();
  const { success } = await new Deno.Command("deno", {
    args: ["task", "train", "--results-dir", "bench/results/demo"],
    cwd: new URL("../", import.meta.url),
  }).spawn().status;
  if (!success) throw new Error("deno task train failed");
  const minutes = (performance.now() - start) / 60_000;

  const wasm = await init({ device: "wasm" });
  const real = await datasetPictures(await loadMnist(), "mnist");
  const test = await datasetPictures(await loadMnist({ split: "test" }), "mnist");
  const samples = await drawn();
  const config = { size: real.size, numClasses: real.classNames.length };
  const classifier = await trainClassifier(real, config, recipeFor(real, real.flippable));
  const share = async (pictures: Pictures) =>
    accuracy((await classify(classifier, pictures)).classes, pictures.labels);
  const [onReal, recognised] = [await share(test), await share(samples)];
  classifier.dispose();
  await shutdown(wasm);
  report.add("deno task train, no flags", [{
    minutes,
    "samples": samples.count,
    "recognised, %": 100 * recognised,
    "classifier on real digits, %": 100 * onReal,
  }]);
  if (onReal < 0.98) throw new Error(`the classifier reached ${onReal}, expected 0.98 or more`);
}

/** The samples of the run, and what they were asked to be. */
async function drawn(): Promise<Pictures> {
  const folders = Array.from(Deno.readDirSync(RESULTS), ({ name }) => name).sort();
  return await archivePictures(fromFileUrl(new URL(`${folders.at(-1)}/samples.npz`, RESULTS)));
}
