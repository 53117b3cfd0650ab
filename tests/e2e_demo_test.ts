/**
 * Whether training makes digits: a classifier of real ones looks at those of the demo's weights,
 * which `deno task train` made. `deno task bench demo` trains anew, and in full.
 */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { expect } from "@std/expect";
import { loadMnist } from "@dit/data";
import { init } from "@dit/core/tensor";
import { fromFileUrl } from "@std/path";
import { command, commandTest } from "./commands.ts";
import { accuracy, classify, recipeFor, trainClassifier } from "../cli/evaluation/classifier.ts";
import type { Pictures } from "../cli/evaluation/pictures.ts";
import { archivePictures, datasetPictures } from "../cli/evaluation/read_pictures.ts";
import { MNIST_PACKAGE } from "../data/mnist.ts";
import { packagesMissing, testUnless } from "./npm.ts";

const DEMO = fromFileUrl(new URL("../cli/demo/mnist.safetensors", import.meta.url));
/** Batches that the classifier learns from here; as evaluation trains it, it is right in 98.6 of 100. */
const STEPS = 150;

const missing = await packagesMissing(MNIST_PACKAGE);

function mnistTest(name: string, run: (folder: string) => Promise<void>): void {
  testUnless(missing, commandTest, name, run);
}

mnistTest("the demo draws digits that a classifier of real ones recognises", async (folder) => {
  const [count, out] = [40, `${folder}/digits.npz`];
  const args = ["--ckpt", DEMO, "--n", `${count}`, "--sampler", "ddim", "--out", out];
  const usual = ["--num-sampling-steps", "25", "--cfg-scale", "2", "--device", "wasm"];
  const { code, err } = await command("sample", [...args, ...usual], folder);
  assertEquals(code, 0, err);
  await init({ device: "wasm" });
  const [real, unseen] = await Promise.all(
    (["train", "test"] as const).map(async (split) =>
      await datasetPictures(await loadMnist({ split }), split, { limit: 10_000 })
    ),
  );
  const { size } = real!;
  const recipe = { ...recipeFor(real!, false), steps: STEPS };
  using judge = await trainClassifier(real!, { size, numClasses: 10 }, recipe);
  const right = async (pictures: Pictures) =>
    accuracy((await classify(judge, pictures)).classes, pictures.labels);
  expect(await right(unseen!)).toBeGreaterThan(0.92);
  expect(await right(await archivePictures(out))).toBeGreaterThan(0.85);
});

commandTest("the demo of emoji draws yellow faces on white", async (folder) => {
  const out = `${folder}/faces.npz`;
  const ended = await command(
    "sample",
    ["--demo", "emoji", "--classes", "faces-noto", "--n", "4", "--out", out, "--device", "wasm"],
    folder,
  );
  assertEquals(ended.code, 0, ended.err);
  assertStringIncludes(ended.out, "85 classes");
  assertStringIncludes(ended.out, "10 steps, guidance 3 ");
  const { pixels, count } = await archivePictures(out);
  assertEquals([count, pixels.length], [4, 4 * 3 * 64 ** 2]);
  for (let i = 0; i < count; i++) {
    const meanOf = (top: number, left: number, side: number): number[] =>
      [0, 1, 2].map((channel) => {
        let sum = 0;
        for (let y = top; y < top + side; y++) {
          for (let x = left; x < left + side; x++) {
            sum += pixels[3 * (64 * (64 * i + y) + x) + channel]!;
          }
        }
        return sum / side ** 2;
      });
    for (const level of meanOf(0, 0, 4)) expect(level).toBeGreaterThan(235);
    const [red, green, blue] = meanOf(16, 16, 32);
    expect(red).toBeGreaterThan(150);
    expect(green! - blue!).toBeGreaterThan(50);
  }
});

mnistTest("without flags train learns MNIST on the CPU", async (folder) => {
  const { code, out, err } = await command(
    "train",
    ["--device", "wasm", "--steps", "20", "--sample-every", "0", "--final-samples", "0"],
    folder,
  );
  assertEquals(code, 0, err);
  const first = out.split("\n");
  assertEquals(first.slice(0, 6).map((line) => line.split(/ +/)[0]), [
    "model",
    "data",
    "run",
    "device",
    "results",
    "",
  ]);
  const lines = await Deno.readTextFile(`${folder}/results/000-DiT-Mini-4/metrics.jsonl`);
  const { loss, peakBytes } = JSON.parse(lines.trim().split("\n").at(-1)!);
  expect(loss).toBeLessThan(0.9); // the mean over the first steps; the data's own square is 0.95
  const promised = Number(/about (\d+) MB of memory/.exec(out)![1]) * 1e6;
  expect(promised).toBeGreaterThan(peakBytes * 0.9);
  expect(promised).toBeLessThan(peakBytes * 1.2);
});
