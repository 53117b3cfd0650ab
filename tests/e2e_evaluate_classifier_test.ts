/** `deno task evaluate --features classifier`: what was asked for, how it is spread, what is copied. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { loadMnist } from "@dit/data";
import { datasetPictures } from "../cli/evaluation/read_pictures.ts";
import { SampleArchive } from "../cli/shared/sample_archive.ts";
import { command, commandLines, commandTest, words } from "./commands.ts";
import { writePictures } from "./pictures.ts";
import { writeTinyDigits } from "./tiny_digits.ts";

/** An archive of pictures. */
async function writeArchive(
  path: string,
  pixels: Uint8Array,
  labels: ArrayLike<number>,
  size: readonly [number, number, number] = [32, 32, 1],
): Promise<void> {
  await using archive = await SampleArchive.create(path);
  await archive.write({ pixels, size });
  await archive.finish((number) => labels[number]!, { made_by: '{"steps": 5}' });
}

/** The pictures of tiny digits, as samples have them. */
async function tinyDigits(folder: string, count: number) {
  await writeTinyDigits(folder, count);
  return await datasetPictures(await loadMnist({ folder }), folder);
}

const USUAL = words("--features classifier --device wasm");

commandTest("samples are compared with digits, once with a classifier kept", async (folder) => {
  const training = await tinyDigits(`${folder}/digits`, 200);
  const others = await tinyDigits(`${folder}/others`, 60); // of the same kind
  // every other ten samples are of other classes than was asked for
  const asked = others.labels.map((label, i) => (label + (Math.floor(i / 10) % 2) * 3) % 10);
  await writeArchive(`${folder}/samples.npz`, others.pixels, asked);
  const copies = training.pixels.slice(0, 60 * 1024);
  await writeArchive(`${folder}/copies.npz`, copies, training.labels);
  await writeArchive(`${folder}/reference.npz`, training.pixels, training.labels);

  const first = await command("evaluate", ["samples.npz", "digits", ...USUAL], folder);
  assertEquals(first.code, 0, first.err);
  assertMatch(
    first.out,
    /^features {2}of a classifier [0-9a-f]{16}, trained now: 100\.0 % of held-/m,
  );
  assertMatch(first.out, /^accuracy +50\.0 % +100\.0 %$/m);
  assertMatch(first.out, /^Fréchet distance +[\d.]+ +[\d.]+$/m);
  assertStringIncludes(first.out, "no sign of memorisation");
  assertEquals(first.out.includes("FID"), false, "it is none");
  const page = await Deno.readTextFile(`${folder}/evaluation/samples-nearest.html`);
  assertStringIncludes(page, "<strong");
  assertEquals(page.match(/<article>/g)?.length, 60);
  assertEquals(/<script|(?:src|href)="(?!data:image\/png;base64,)/.test(page), false);

  const args = ["--json", "--page", "copies.html"];
  const [again, copied] = await commandLines([
    ["evaluate", "samples.npz", "reference.npz", ...USUAL, "--json"],
    ["evaluate", "copies.npz", "digits", ...USUAL, ...args],
  ], folder);
  for (const { code, err } of [again!, copied!]) {
    assertEquals(code, 0, err);
    assertStringIncludes(err, "kept from before"); // the same pictures, from wherever
  }
  const result = JSON.parse(again!.out);
  assertEquals([result.accuracy, result.samples, result.madeBy], [0.5, 60, { steps: 5 }]);
  assertEquals(result.classes.length, 10);
  assert(result.classes.every((each: { samples: number }) => each.samples === 6));
  assertEquals(result.heldOut.accuracy, 1);
  for (const key of ["frechetDistance", "kid", "precision", "recall"]) {
    assert(Number.isFinite(result[key]) && Number.isFinite(result.heldOut[key]), key);
  }
  assertEquals(result.nearest.verdict, "new");
  assert(result.nearest.ratio > 0.9 && result.nearest.ratio < 1.1, `${result.nearest.ratio}`);
  const { nearest, accuracy } = JSON.parse(copied!.out);
  assertEquals([nearest.verdict, nearest.page, accuracy], ["memorised", "copies.html", 1]);
  assertEquals(nearest.distance, 0);
  assertStringIncludes(await Deno.readTextFile(`${folder}/copies.html`), "given back");
});

commandTest("a folder of classes is a reference, cropped as samples are", async (folder) => {
  await writePictures(`${folder}/pictures`, ["discs", "spots"], 20);
  const labels = Array.from({ length: 20 }, (_, i) => i % 2);
  const pixels = new Uint8Array(20 * 24 * 24 * 3).map((_, i) => i * 7 % 256);
  await writeArchive(`${folder}/samples.npz`, pixels, labels, [24, 24, 3]);
  const { code, out, err } = await command(
    "evaluate",
    ["samples.npz", "pictures", ...USUAL, "--json"],
    folder,
  );
  assertEquals(code, 0, err);
  const { classes } = JSON.parse(out);
  assertEquals(classes.map(({ name }: { name: string }) => name), ["discs", "spots"]);
  assertStringIncludes(err, "cropped to 24x24");
});

commandTest("what cannot be compared by a classifier is refused", async (folder) => {
  const { pixels, labels } = await tinyDigits(`${folder}/digits`, 40);
  await writePictures(`${folder}/one`, ["discs"], 8);
  const small = Int32Array.from({ length: 40 }, (_, i) => i % 10);
  const some = pixels.subarray(0, 40 * 16 * 16);
  await Promise.all([
    writeArchive(`${folder}/good.npz`, pixels, labels),
    writeArchive(`${folder}/small.npz`, some, small, [16, 16, 1]),
    writeArchive(`${folder}/colour.npz`, new Uint8Array(40 * 3072), small, [32, 32, 3]),
    writeArchive(`${folder}/few.npz`, pixels.subarray(0, 19 * 1024), labels),
    writeArchive(`${folder}/nine.npz`, pixels, labels.map((label) => Math.min(label, 8))),
    writeArchive(`${folder}/eleven.npz`, pixels, labels.map((_, i) => i % 11)),
    writeArchive(`${folder}/single.npz`, pixels, new Int32Array(40)),
  ]);
  const cases: [string[], string][] = [
    [
      ["small.npz", "digits"],
      "small.npz: expected pictures of 32x32 in grey, as digits has, but found",
    ],
    [["colour.npz", "digits"], "but found 32x32 in colour"],
    [["few.npz", "digits"], "few.npz: expected 20 samples or more of 10 classes but found 19"],
    [["nine.npz", "digits"], "there are none of class 9 (9)"],
    [
      ["eleven.npz", "digits"],
      "expected classes below 10, the number of those of digits, but found 10",
    ],
    [["good.npz", "single.npz"], "single.npz: expected two classes or more"],
    [["colour.npz", "one"], "one: expected two classes or more for a classifier to tell apart"],
    [
      ["good.npz", "nowhere"],
      "reference nowhere: expected mnist, emoji or a folder but found nothing",
    ],
    [["good.npz", "few.npz"], "few.npz: expected two pictures or more of each class"],
    [
      ["good.npz", "one", "--cache", "one/kept"],
      "--cache: expected a folder outside of the reference one but got one/kept",
    ],
    [
      ["good.npz", "digits", "--metrics", "fid"],
      "--metrics: says nothing of --features classifier",
    ],
    [
      ["good.npz", "digits", "--cache", "few.npz"],
      "few.npz: expected a folder to write to but a file is there",
    ],
    [["good.npz", "digits", "--features", "clasifier"], "did you mean classifier?"],
  ];
  const ended = await commandLines(cases.map(([args]) => ["evaluate", ...USUAL, ...args]), folder);
  for (const [i, { code, err }] of ended.entries()) {
    const [args, message] = cases[i]!;
    assertStringIncludes(err, message);
    assert(code === 1 || code === 2, `${args}: ${err}`);
    assert(!err.includes("at file:"), err);
  }
});
