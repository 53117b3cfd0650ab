/** Evaluation in features of Inception-v3, by the definitions of the ADM suite. */
import { POOL_WIDTH, SPATIAL_WIDTH } from "@dit/core/inception";
import type { NpzFile } from "@dit/core/io";
import { frechetDistance, type Gaussian } from "../../evaluation/frechet.ts";
import {
  ArchiveImages,
  arraysText,
  FolderImages,
  type ImageSource,
  openArchive,
} from "../../evaluation/image_source.ts";
import {
  checkInceptionFile,
  InceptionExtractor,
  inceptionName,
  usualInceptionPath,
} from "../../evaluation/inception_extractor.ts";
import { kernelDistance } from "../../evaluation/kernel_distance.ts";
import {
  extractorOf,
  featuresPath,
  gaussianIn,
  loadMeasured,
  measure,
  type Measured,
  measuredOf,
  saveMeasured,
} from "../../evaluation/measured.ts";
import { NEIGHBOURS, precisionRecall } from "../../evaluation/precision_recall.ts";
import { deviceText, startDevice } from "../../shared/device.ts";
import { CommandError, messageOf, UsageError } from "../../shared/errors.ts";
import { isFolder } from "../../shared/files.ts";
import { ProgressLine } from "../../shared/progress.ts";
import { makeCache } from "./cache.ts";
import { EVALUATE_FLAGS, type EvaluateFlags, type Metric, METRICS } from "./flags.ts";
import {
  type Evaluation,
  fewSamplesWarning,
  figureLines,
  type Figures,
  madeByOf,
  missingClassesWarning,
} from "./report.ts";

/** Metrics that need features of the reference, not their mean and covariance alone. */
const NEED_FEATURES: readonly Metric[] = ["precision", "recall", "kid"];

/** Where what is said goes: lines for people, notes and warnings. */
interface Output {
  readonly say: (line: string) => void;
  readonly warn: (line: string) => void;
}

/** What an archive or folder is compared with. */
interface Reference {
  readonly name: string;
  /** Mean and covariance that the file itself has. */
  readonly gaussian: Gaussian | null;
  readonly spatial: Gaussian | null;
  /** Features that the file itself has. */
  readonly measured: Measured | null;
  /** Images, where there are some. */
  readonly images: ImageSource | null;
}

/** Evaluates the images of an archive against a reference. */
export async function evaluateWithInception(
  samplesPath: string,
  referencePath: string,
  flags: EvaluateFlags,
): Promise<number> {
  if (flags.page !== undefined) {
    throw new UsageError("--page: says nothing of --features inception; leave it out");
  }
  const json = flags.json ?? false;
  const output: Output = {
    say: (line) => json ? console.error(line) : console.log(line),
    warn: (line) => console.error(line),
  };
  const metrics = flags.metrics ?? METRICS;
  const weights = flags.weights ?? usualInceptionPath();
  const { half = false } = flags;
  await using stack = new AsyncDisposableStack();

  const npz = stack.use(await openArchive(samplesPath));
  const samples = new ArchiveImages(npz);
  const madeBy = madeByOf(npz.texts.get("made_by"));
  requireEnough("samples", samples.name, samples.count, metrics);
  const name = await inceptionName(weights, { half });
  await checkInceptionFile(weights);
  const reference = await openReference(referencePath, samples, name, output, stack);
  const needed = imagesNeeded(reference, metrics);
  if (needed) requireEnough("reference", needed.name, needed.count, metrics);
  const [height, width, channels] = samples.size;
  output.say(
    `samples   ${samples.name}: ${
      samples.count.toLocaleString("en")
    } images of ${width}x${height}` +
      `${channels === 1 ? ", grey" : ""}`,
  );
  output.say(`reference ${describe(reference)}`);
  await compareClasses(samples, madeBy, reference, output);
  const warning = fewSamplesWarning(samples.count, metrics);
  if (warning) output.warn(warning);

  const device = await startDevice(flags);
  output.say(`device    ${deviceText(device)}${half ? ", float16" : ""}`);
  const measureImages = await measuring(flags, weights, name, output, stack);
  const ofSamples = await measureImages(samples, "samples");
  const ofReference = needed ? await measureImages(needed, "reference") : reference.measured;
  const { figures, deviation } = await compare(ofSamples, reference, ofReference, metrics, output);
  const evaluation: Evaluation = { ...figures, samples: ofSamples.pool.count, madeBy };
  if (json) console.log(JSON.stringify(evaluation));
  else for (const line of figureLines(figures, metrics, deviation)) console.log(line);
  return 0;
}

function requireEnough(
  what: string,
  name: string,
  count: number,
  metrics: readonly Metric[],
): void {
  const neighbours = metrics.some((metric) => metric === "precision" || metric === "recall");
  const least = neighbours ? NEIGHBOURS + 1 : metrics.some((m) => m !== "inception-score") ? 2 : 1;
  if (count >= least) return;
  const why = neighbours
    ? `precision and recall look at ${NEIGHBOURS} neighbours of each`
    : "a covariance needs two";
  throw new CommandError(
    `${name}: expected ${least} images or more as ${what}, because ${why}, but found ${count}`,
  );
}

async function openReference(
  path: string,
  samples: ImageSource,
  extractor: string,
  { warn }: Output,
  stack: AsyncDisposableStack,
): Promise<Reference> {
  const nothing = { name: path, gaussian: null, spatial: null, measured: null };
  if (await isFolder(path)) {
    const [height, width] = samples.size;
    if (height !== width) {
      throw new CommandError(
        `${path}: expected square samples, as images of a folder are cropped to them, but they are ` +
          `${width}x${height}`,
      );
    }
    const images = stack.use(
      await FolderImages.open(
        path,
        height,
        (image, reason) => warn(`note: ${image} is left out: ${reason}`),
      ),
    );
    return { ...nothing, images };
  }
  const npz: NpzFile = stack.use(await openArchive(path));
  const measured = await measuredOf(npz);
  const from = extractorOf(npz);
  if (measured && from !== extractor) {
    throw new CommandError(
      `${path}: expected features of ${extractor} but they are of ${from}; give the images instead`,
    );
  }
  const [gaussian, spatial] = [await gaussianIn(npz, ""), await gaussianIn(npz, "_s")];
  if (gaussian) requireWidth(path, "mu", gaussian, POOL_WIDTH);
  if (spatial) requireWidth(path, "mu_s", spatial, SPATIAL_WIDTH);
  const images = npz.has("arr_0") ? new ArchiveImages(npz) : null;
  if (!images && !gaussian && !measured) {
    throw new CommandError(
      `${path}: expected a reference, with images in arr_0 or statistics in mu and sigma, but found ` +
        arraysText(npz),
    );
  }
  if (images && images.size.some((d, i) => i < 2 && d !== samples.size[i])) {
    const text = ({ size: [height, width] }: ImageSource) => `${width}x${height}`;
    throw new CommandError(
      `${path}: expected images of ${text(samples)}, as the samples are, but found ${
        text(images)
      }; ` +
        "the figures compare images of one size only",
    );
  }
  return { ...nothing, gaussian, spatial, measured, images };
}

/** The images of a reference, where the figures need what the file itself does not have. */
function imagesNeeded(
  { gaussian, spatial, measured, images }: Reference,
  metrics: readonly Metric[],
): ImageSource | null {
  const lacks = (metric: Metric): boolean =>
    NEED_FEATURES.includes(metric) || metric === "fid" && !gaussian ||
    metric === "sfid" && !spatial;
  return measured === null && metrics.some(lacks) ? images : null;
}

/** Throws where statistics of a file are not of features of the network. */
function requireWidth(path: string, name: string, { mean }: Gaussian, width: number): void {
  if (mean.length === width) return;
  throw new CommandError(
    `${path}: expected ${name} of ${
      width.toLocaleString("en")
    } features, as Inception has them, but ` +
      `found ${mean.length.toLocaleString("en")}`,
  );
}

function describe({ name, gaussian, images, measured }: Reference): string {
  const parts = [
    ...(gaussian ? ["statistics"] : []),
    ...(measured ? [`features of ${measured.pool.count.toLocaleString("en")} images`] : []),
    ...(images ? [`${images.count.toLocaleString("en")} images`] : []),
  ];
  return `${name}: ${parts.join(", ")}`;
}

/** Warns of classes that have no samples. */
async function compareClasses(
  samples: ImageSource,
  madeBy: unknown,
  { images }: Reference,
  { warn }: Output,
): Promise<void> {
  const labels = await samples.labels();
  if (!labels) return;
  const others = await images?.labels() ?? null;
  // a folder without classes is one class, which says nothing of those of the samples
  if (others && new Set(others).size > 1) {
    const warning = missingClassesWarning(labels, others, images!.classNames, "the reference has");
    if (warning) warn(warning);
  } else if (Object(madeBy).labels === "balanced") {
    const most = labels.reduce((a, b) => Math.max(a, b), 0);
    const all = Int32Array.from({ length: most + 1 }, (_, i) => i);
    const warning = missingClassesWarning(labels, all, null, "balanced samples should have");
    if (warning) warn(warning);
  }
}

/** Passes images through the network, or takes what is kept of them. The network is loaded once. */
async function measuring(
  flags: EvaluateFlags,
  weights: string,
  name: string,
  { say }: Output,
  stack: AsyncDisposableStack,
): Promise<(source: ImageSource, what: string) => Promise<Measured>> {
  const folder = await makeCache(flags);
  const batchSize = flags["batch-size"] ?? EVALUATE_FLAGS["batch-size"].default;
  let extractor: InceptionExtractor | undefined;
  return async (source, what) => {
    using line = new ProgressLine(`${what.padEnd(9)} `);
    const path = await featuresPath(
      folder,
      source,
      name,
      (done) => line.show(done, source.count, "hashed"),
    );
    const kept = flags.fresh ? null : await loadKept(path, line);
    if (kept) {
      line.end();
      say(`${what.padEnd(9)} features of ${path}`);
      return kept;
    }
    extractor ??= stack.use(
      await InceptionExtractor.open(weights, { half: flags.half ?? false }),
    );
    const start = performance.now();
    const measured = await measure(source, extractor, {
      batchSize,
      onProgress: (done, total) => {
        const rate = done / (performance.now() - start) * 1000;
        line.show(done, total, `${rate.toFixed(1)} images/s`);
      },
    });
    line.end();
    await saveMeasured(path, measured, name);
    return measured;
  };
}

/** Features that are kept; null where there are none that can be read. */
async function loadKept(path: string, line: ProgressLine): Promise<Measured | null> {
  try {
    return await loadMeasured(path);
  } catch (error) {
    line.note(`${messageOf(error)}; it is computed anew`);
    return null;
  }
}

/** All figures that are asked for. */
async function compare(
  samples: Measured,
  reference: Reference,
  measured: Measured | null,
  metrics: readonly Metric[],
  { warn }: Output,
): Promise<{ figures: Figures; deviation: number }> {
  const wants = (metric: Metric) => metrics.includes(metric);
  const missing = (what: string, needs: string): null => {
    warn(`note: no ${what}: ${reference.name} has no ${needs}`);
    return null;
  };
  const distance = (
    what: string,
    ours: Gaussian | null,
    theirs: Gaussian | null,
    needs: string,
  ) => {
    if (!ours || !theirs) return missing(what, needs);
    return frechetDistance(ours, theirs);
  };
  if (measured) requireEnough("reference", reference.name, measured.pool.count, metrics);
  const fid = wants("fid")
    ? distance(
      "FID",
      samples.gaussian,
      reference.gaussian ?? measured?.gaussian ?? null,
      "mu and sigma",
    )
    : null;
  const sfid = wants("sfid")
    ? distance(
      "sFID",
      samples.spatial,
      reference.spatial ?? measured?.spatial ?? null,
      "mu_s and sigma_s",
    )
    : null;
  let [precision, recall, kid, deviation]: [number | null, number | null, number | null, number] = [
    null,
    null,
    null,
    0,
  ];
  if (wants("precision") || wants("recall")) {
    if (!measured) missing("precision and recall", "images");
    else {
      using line = new ProgressLine("neighbours ");
      const onProgress = (done: number, total: number) => line.show(done, total, "blocks");
      const both = await precisionRecall(measured.pool, samples.pool, { onProgress });
      if (wants("precision")) precision = both.precision;
      if (wants("recall")) recall = both.recall;
    }
  }
  if (wants("kid")) {
    if (!measured) missing("KID", "images");
    else {
      using line = new ProgressLine("KID       ");
      const onProgress = (done: number, total: number) => line.show(done, total, "subsets");
      const found = await kernelDistance(measured.pool, samples.pool, { onProgress });
      [kid, deviation] = [found.mean, found.deviation];
    }
  }
  const inceptionScore = wants("inception-score") ? samples.inceptionScore : null;
  return { figures: { fid, sfid, inceptionScore, precision, recall, kid }, deviation };
}
