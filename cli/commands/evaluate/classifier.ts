/** Evaluation in features of a classifier that is trained on the reference. */
import { basename, dirname, join } from "@std/path";
import {
  ClassifierEvaluation,
  type ClassifierFigures,
  requireClasses,
  requireComparable,
} from "../../evaluation/classifier_evaluation.ts";
import type { Comparison } from "../../evaluation/compare.ts";
import { nearestPage, VERDICTS } from "../../evaluation/nearest_page.ts";
import {
  type ArchivePictures,
  archivePictures,
  archiveReference,
  datasetPictures,
  type Reference,
} from "../../evaluation/read_pictures.ts";
import { dataKind } from "../../shared/data_kind.ts";
import { deviceText, startDevice } from "../../shared/device.ts";
import { CommandError, UsageError } from "../../shared/errors.ts";
import { exists, makeFolder, writeWhole } from "../../shared/files.ts";
import { cropsIn, openImages, preparationText } from "../../shared/images.ts";
import { duration, ProgressLine, warnAbove } from "../../shared/progress.ts";
import { makeCache } from "./cache.ts";
import type { EvaluateFlags } from "./flags.ts";
import { madeByOf } from "./report.ts";

/** Flags that say something of Inception only. */
const OF_INCEPTION = ["metrics", "weights", "half", "batch-size", "fresh"] as const;

/** Threads that decode the images of a folder. */
const WORKERS = 2;

/** Below this share of held-out pictures that a classifier gets right, its word counts for little. */
const LEAST_ACCURACY = 0.8;

/** Evaluates the samples of an archive against a reference with classes. */
export async function evaluateWithClassifier(
  samplesPath: string,
  referencePath: string,
  flags: EvaluateFlags,
): Promise<number> {
  for (const name of OF_INCEPTION) {
    if (flags[name] === undefined) continue;
    throw new UsageError(`--${name}: says nothing of --features classifier; leave it out`);
  }
  const json = flags.json ?? false;
  const say = (line: string) => json ? console.error(line) : console.log(line);
  const start = performance.now();
  const samples = await progressing(
    "samples",
    (onProgress) => archivePictures(samplesPath, { onProgress }),
  );
  const reference = await progressing(
    "reference",
    (onProgress) => openReference(referencePath, samples, onProgress),
  );
  requireClasses(reference);
  requireComparable(samples, reference);
  const count = (n: number) => n.toLocaleString("en");
  const some = (all: ArchivePictures | Reference) =>
    all.count < all.total ? `${count(all.count)} of ${count(all.total)}` : count(all.count);
  say(`samples   ${samples.name}: ${some(samples)} pictures`);
  say(
    `reference ${reference.name}: ${some(reference)} pictures of ${reference.classNames.length} ` +
      "classes",
  );
  const device = await startDevice(flags);
  say(`device    ${deviceText(device)}`);

  const folder = await makeCache(flags);
  using line = new ProgressLine("          ");
  const show = (what: string, done: number, total: number) => line.show(done, total, what);
  using evaluation = await ClassifierEvaluation.prepare(reference, folder, { show });
  const { name, isNew, heldOutAccuracy } = evaluation;
  line.end();
  say(
    `features  of a ${name}, ${isNew ? "trained now" : "kept from before"}: ` +
      `${percent(heldOutAccuracy)} of held-out pictures right`,
  );
  if (heldOutAccuracy < LEAST_ACCURACY) {
    console.error(
      `WARNING: the classifier is right on ${percent(heldOutAccuracy)} of real pictures only, so ` +
        "that its word on samples counts for little: compare it with that on held-out pictures",
    );
  }
  const figures = await evaluation.evaluate(samples, { show });
  const heldOut = await evaluation.evaluateHeldOut();
  line.end();
  const { neighbours, memorisation, classes, ...overall } = figures;
  const page = flags.page ?? join(folder, `${basename(samplesPath, ".npz")}-nearest.html`);
  const html = { title: samples.name, samples, neighbours, reference, memorisation };
  await makeFolder(dirname(page));
  await writeWhole(page, await nearestPage(html));
  const seconds = (performance.now() - start) / 1000;
  if (json) {
    console.log(JSON.stringify({
      ...overall,
      classes,
      nearest: { ...memorisation, page },
      heldOut,
      features: name,
      reference: reference.name,
      samples: samples.count,
      madeBy: madeByOf(samples.madeBy),
    }));
  } else {
    for (const text of figureLines(figures, heldOut)) say(text);
    say(`page      ${page} (${duration(seconds)} in all)`);
  }
  return 0;
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

/** Reads something with a line of progress. */
async function progressing<T>(
  what: string,
  read: (onProgress: (done: number, total: number) => void) => Promise<T>,
): Promise<T> {
  using line = new ProgressLine(`${what.padEnd(9)} `);
  return await read((done, total) => line.show(done, total, "pictures read"));
}

/** Opens what samples are compared with: an archive, named data, or a folder of classes. */
async function openReference(
  path: string,
  { fullSize: [height, width], name }: ArchivePictures,
  onProgress: (done: number, total: number) => void,
): Promise<Reference> {
  if (/\.npz$/i.test(path) && await exists(path)) {
    return await archiveReference(path, { onProgress });
  }
  const requireSquare = () => {
    if (height === width) return;
    throw new CommandError(
      `${name}: expected square samples, as the reference is cropped to or drawn at their size, but ` +
        `they are ${width}x${height}`,
    );
  };
  const found = await dataKind(path, "reference");
  if (found.kind === "named") {
    const { named, folder } = found;
    if (named.hasAnySize) requireSquare();
    const keep = cropsIn(undefined, warnAbove); // what training has kept is read
    const data = await named.open({ folder, size: height, workers: WORKERS, keep, onProgress });
    return await datasetPictures(data, path, { onProgress });
  }
  if (found.kind !== "images") {
    throw new CommandError(
      `${path}: expected pictures to compare samples with but found latents made of them`,
    );
  }
  requireSquare();
  await using images = await openImages(path, { size: height, workers: WORKERS, warn: warnAbove });
  warnAbove(`          ${preparationText(images)}`);
  return await datasetPictures(images, path, { onProgress });
}

/** Lines of figures: those of samples beside those of held-out pictures. */
function figureLines(
  figures: ClassifierFigures,
  heldOut: Comparison & { readonly accuracy: number; readonly samples: number },
): string[] {
  const rows: [string, keyof Comparison | "accuracy", (value: number) => string][] = [
    ["accuracy", "accuracy", percent],
    ["Fréchet distance", "frechetDistance", (x) => x.toPrecision(4)],
    ["KID", "kid", (x) => x.toPrecision(3)],
    ["precision", "precision", (x) => x.toFixed(3)],
    ["recall", "recall", (x) => x.toFixed(3)],
  ];
  const cells = (...texts: string[]) => texts.map((text) => text.padStart(12)).join("");
  const known = (text: (value: number) => string, value: number) =>
    Number.isNaN(value) ? "-" : text(value);
  const { classes, memorisation: { ratio, suspicious, verdict } } = figures;
  const worst = classes.toSorted((a, b) => a.accuracy - b.accuracy).slice(0, 3);
  return [
    `${"".padEnd(18)}${cells("samples", "held out")}`,
    ...rows.map(([title, key, text]) =>
      `${title.padEnd(18)}${cells(text(figures[key]), known(text, heldOut[key]))}`
    ),
    `${"nearest".padEnd(18)}${
      cells(ratio.toFixed(3), "1")
    }  distance to the nearest training picture`,
    `${"suspicious".padEnd(18)}${cells(percent(suspicious), "1.0 %")}  ${VERDICTS[verdict]}`,
    `least recognised  ${
      worst.map(({ name, accuracy }) => `${name} (${percent(accuracy)})`).join(", ")
    }`,
  ];
}
