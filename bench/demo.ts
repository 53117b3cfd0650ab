/**
 * The main job, whole: `deno task train` with no flags, timed, and its final samples shown to a
 * classifier that was trained on real digits only.
 */
import { fromFileUrl } from "@std/path";
import { init, loadNpz, shutdown, toFloat32, toInt32 } from "@dit/core";
import { loadMnist } from "@dit/data";
import { accuracy, agreement, trainClassifier } from "../tests/digit_classifier.ts";
import type { Report } from "./measure.ts";

/** The commands choose the tier by themselves. */
export const tiered = false;

const STEPS = 1600;
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
  const classifier = await trainClassifier(await loadMnist(), STEPS);
  const onReal = await accuracy(classifier, await loadMnist({ split: "test" }));
  const { images, labels } = await drawn();
  const recognised = agreement(await classifier.classify(images), labels);
  classifier.dispose();
  await shutdown(wasm);
  report.add("deno task train, no flags", [{
    minutes,
    "samples": labels.length,
    "recognised, %": 100 * recognised,
    "classifier on real digits, %": 100 * onReal,
  }]);
  if (onReal < 0.98) throw new Error(`the classifier reached ${onReal}, expected 0.98 or more`);
}

/** The samples of the run: [N, 1, 32, 32] in [-1, 1], and what they were asked to be. */
async function drawn(): Promise<{ images: Float32Array<ArrayBuffer>; labels: Int32Array }> {
  const folders = Array.from(Deno.readDirSync(RESULTS), ({ name }) => name).sort();
  const npz = await loadNpz(fromFileUrl(new URL(`${folders.at(-1)}/samples.npz`, RESULTS)));
  const pixels = npz.get("arr_0")!; // uint8 [N, 32, 32, C], gray
  const channels = pixels.shape[3] ?? 1;
  const all = toFloat32(pixels);
  const images = new Float32Array(all.length / channels);
  for (let i = 0; i < images.length; i++) images[i] = all[i * channels]! / 127.5 - 1;
  return { images, labels: toInt32(npz.get("arr_1")!) };
}
