/** The statistics of evaluation against NumPy and SciPy, by the ADM suite's definitions. */
import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { type FeatureSet, sliceOf } from "../cli/evaluation/features.ts";
import { frechetDistance, gaussianOf, GaussianSums } from "../cli/evaluation/frechet.ts";
import { InceptionScore } from "../cli/evaluation/inception_score.ts";
import { kernelDistance } from "../cli/evaluation/kernel_distance.ts";
import { precisionRecall } from "../cli/evaluation/precision_recall.ts";
import { assertAbsolute, Golden, goldenJson, goldenOnDevices } from "./goldens.ts";

const INFO = "inception/inception.json";
const VALUES = "inception/statistics.safetensors";

interface Info {
  statistics: {
    frechet: Record<string, { sqrtm: number; eigen: number }>;
    mean: number[];
    covariance_trace: number;
    precision_recall: [number, number];
    kid: number;
    inception_score: Record<string, number>;
  };
}

async function load() {
  const { statistics } = await goldenJson<Info>(INFO);
  const golden = await Golden.load(VALUES);
  const set = (name: string): FeatureSet => {
    const [count, width] = golden.shape(name) as [number, number];
    return { count, width, rows: golden.floats(name) };
  };
  return { want: statistics, a: set("a"), b: set("b"), logits: set("logits") };
}

goldenOnDevices("the Fréchet distance is SciPy's, of singular covariances too", [
  INFO,
  VALUES,
], async () => {
  const { want, a, b } = await load();
  const cases: Record<string, [FeatureSet, FeatureSet]> = {
    "whole": [a, b],
    "few against whole": [sliceOf(a, 0, 9), b],
    "few against few": [sliceOf(a, 0, 9), sliceOf(b, 0, 14)],
    "the same": [a, a],
  };
  assertEquals(new Set(Object.keys(cases)), new Set(Object.keys(want.frechet)));
  for (const [name, [x, y]] of Object.entries(cases)) {
    const { sqrtm, eigen } = want.frechet[name]!;
    for (
      const got of [[x, y], [y, x]].map(([x, y]) => frechetDistance(gaussianOf(x!), gaussianOf(y!)))
    ) {
      assertAbsolute(name, [got], [eigen], 1e-9 * Math.max(1, eigen));
      // the root of a singular product is noise of 1e-8 in SciPy's
      assertAbsolute(`${name}, by sqrtm`, [got], [sqrtm], 1e-6);
    }
  }
}, ["reference"]);

goldenOnDevices("mean and covariance come out alike in one part and in many", [
  INFO,
  VALUES,
], async () => {
  const { want, a } = await load();
  for (const part of [300, 64, 7, 1]) {
    const sums = new GaussianSums(a.width);
    for (let i = 0; i < a.count; i += part) sums.add(sliceOf(a, i, Math.min(a.count, i + part)));
    const { count, mean, covariance } = sums.gaussian();
    assertEquals(count, a.count);
    assertAbsolute(`mean, by ${part}`, mean, want.mean, 1e-12);
    const trace = mean.reduce((sum, _, i) => sum + covariance[i * a.width + i]!, 0);
    assertAbsolute(`trace, by ${part}`, [trace], [want.covariance_trace], 1e-11);
  }
  const one = new GaussianSums(a.width);
  one.add(sliceOf(a, 0, 1));
  assertThrows(() => one.gaussian(), RangeError, "expected two samples or more but got 1");
}, ["reference"]);

goldenOnDevices("precision, recall and KID are those of their definitions", [
  INFO,
  VALUES,
], async () => {
  const { want, a, b } = await load();
  const [precision, recall] = want.precision_recall;
  assertEquals(await precisionRecall(a, b), { precision, recall });
  const { mean, deviation } = await kernelDistance(a, b);
  assertAbsolute("KID", [mean], [want.kid], 1e-6);
  assertEquals(deviation, 0);
  // the mean over subsets is an estimate of the same; which are drawn depends on the seed alone
  const options = { subsets: 40, subsetSize: 100 };
  const some = await kernelDistance(a, b, options);
  assertAbsolute("KID of subsets", [some.mean], [want.kid], 5 * some.deviation / Math.sqrt(40));
  assertEquals(await kernelDistance(a, b, options), some);
  await assertRejects(
    () => precisionRecall(a, sliceOf(b, 0, 3)),
    RangeError,
    "expected more than 3 images of the samples but got 3",
  );
  await assertRejects(
    () => kernelDistance(sliceOf(a, 0, 1), b),
    RangeError,
    "two features or more",
  );
});

goldenOnDevices("the Inception Score is the ADM suite's, over its splits", [
  INFO,
  VALUES,
], async () => {
  const { want, logits } = await load();
  for (const [size, value] of Object.entries(want.inception_score)) {
    const score = new InceptionScore(Number(size));
    for (let i = 0; i < logits.count; i += 37) {
      score.add(sliceOf(logits, i, Math.min(logits.count, i + 37)).rows, logits.width);
    }
    assertAbsolute(`splits of ${size}`, [score.value()], [value], 1e-10);
  }
}, ["reference"]);
