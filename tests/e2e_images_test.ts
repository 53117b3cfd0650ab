/** Folders of images as people have them, with all that is wrong with them, through `deno task train`. */
import { type CheckpointHeader, DIT, type ModelConfig } from "@dit/core/pipeline";
import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { expect } from "@std/expect";
import { encodePng } from "@dit/data";
import { crc32 } from "node:zlib";
import { openCheckpoint } from "../cli/run/checkpoint.ts";
import { encoder } from "../data/image_test_util.ts";
import { listCheckpoints } from "../cli/run/find.ts";
import { command, commandLines, commandTest, type Ended, words } from "./commands.ts";
import { makeLinks } from "./fixtures.ts";
import { writePictures } from "./pictures.ts";

/** A model of a few thousand parameters on pixels of 16x16, on the CPU. */
const TINY = words(
  "--device wasm --image-size 16 --hidden-size 16 --depth 1",
  "--num-heads 2 --patch-size 8 --batch-size 4 --num-workers 1",
  "--sample-every 0 --final-samples 0 --log-every 1",
);

function train(folder: string, ...args: string[]): Promise<Ended> {
  return command("train", args, folder);
}

function assertRefused({ code, out, err }: Ended, message: RegExp): void {
  assert(code === 1 || code === 2, out + err);
  assertMatch(err, message);
  expect(err, "a stack is no answer").not.toMatch(/at file:/);
}

async function lastHeader(run: string): Promise<CheckpointHeader<ModelConfig>> {
  using checkpoint = await openCheckpoint((await listCheckpoints(run)).at(-1)!.path, DIT);
  return checkpoint.header;
}

/** A PNG file whose header claims 60,000 x 60,000 pixels. */
async function bomb(): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = await encodePng(Uint8Array.of(1, 2, 3), 1, 1, 3);
  const view = new DataView(bytes.buffer);
  for (const at of [16, 20]) view.setUint32(at, 60_000);
  view.setUint32(29, crc32(bytes.subarray(12, 29)));
  return bytes;
}

/** A JPEG file. */
async function photo(): Promise<Uint8Array<ArrayBuffer>> {
  const pixels = Uint8Array.from({ length: 64 * 48 * 3 }, (_, i) => (i * i) % 251);
  const raw = { width: 64, height: 48, channels: 3 };
  return await (await encoder())(pixels, { raw }).toFormat("jpeg").toBuffer();
}

commandTest("train leaves out what is no picture, names it, and counts it", async (folder) => {
  const photos = `${folder}/my photos, all`;
  await writePictures(photos, ["red, round", "two words"], 4);
  await writePictures(photos, ["猫"], 2);
  const jpeg = await photo();
  const small = await encodePng(new Uint8Array(8 * 8 * 3).fill(9), 8, 8, 3);
  const files: Record<string, Uint8Array> = {
    "red, round/cut, short.jpg": jpeg.subarray(0, jpeg.length / 2),
    "red, round/empty.png": new Uint8Array(0),
    "two words/bomb.png": await bomb(),
    "two words/letter.jpg": new TextEncoder().encode("Dear cat,"),
    "猫/кот 🐈.jpeg": jpeg,
    "猫/small.png": small,
    "猫/notes.txt": new Uint8Array(3),
  };
  for (const [name, bytes] of Object.entries(files)) {
    await Deno.writeFile(`${photos}/${name}`, bytes);
  }
  // sixteen images in four batches: each is looked at once
  const given = ["--data", "my photos, all", "--epochs", "1", "--no-flip", "--ckpt-every", "2"];
  const { code, out, err } = await train(folder, ...TINY, ...given);
  assertEquals(code, 0, err);
  assertMatch(
    out,
    /^data {5}my photos, all, 16 images of 3x16x16 in 3 classes; cropped to 16x16, smaller ones enlarged; 1 other file left alone/m,
  );
  assertMatch(out, /^classes {2}0 "red, round", 1 "two words", 2 猫$/m);
  const reasons: Record<string, string> = {
    "red, round/cut, short.jpg": "premature end of JPEG",
    "red, round/empty.png": "the file is empty",
    "two words/bomb.png": "exceeds pixel limit",
    "two words/letter.jpg": "unsupported image format",
  };
  const run = `${folder}/results/000-DiT-Mini-4`;
  const log = await Deno.readTextFile(`${run}/log.txt`);
  const page = await Deno.readTextFile(`${run}/report.html`);
  const summary = out.split("\n").find((line) => line.startsWith("damaged"))!;
  for (const [name, reason] of Object.entries(reasons)) {
    const line = new RegExp(`my photos, all.${name.replace("/", ".")}: .*${reason}`);
    for (const text of [err, log, summary, page]) assertMatch(text, line);
  }
  assertEquals(err.match(/^left out /gm)!.length, 4);
  assertMatch(log, /damaged {2}4 of 16 images left out: /);
  assertMatch(log, /enlarged 1 image smaller than 16x16/);
  assertMatch(page, /<dt>damaged images left out<\/dt><dd>4<\/dd>/);
  assertMatch(page, /<dt>waiting for data<\/dt><dd>[\d.]+ %<\/dd>/);
  const metrics = (await Deno.readTextFile(`${run}/metrics.jsonl`)).trim().split("\n");
  assertEquals(JSON.parse(metrics.at(-1)!).damaged, 4);
  const classes = JSON.parse(await Deno.readTextFile(`${run}/classes.json`));
  assertEquals(classes, { 0: "red, round", 1: "two words", 2: "猫" });

  const strict = await train(folder, ...TINY, ...given, "--strict");
  assertRefused(strict, /(cut, short\.jpg|empty\.png|bomb\.png|letter\.jpg): damaged image: /);
  const half = `${run}/checkpoints/0000002.safetensors`;
  assertRefused(await train(folder, "--resume", half, "--strict"), /: damaged image: /);
  // one picture more, and the batches of a pass would be others
  await Deno.writeFile(`${photos}/two words/more.png`, small);
  assertRefused(await train(folder, "--resume", half), /expected data of 16 examples.* but got 17/);
  // another class in between would give the cats another number
  await writePictures(photos, ["three"], 1);
  const moved = await train(folder, "--resume", half);
  assertRefused(moved, /expected the classes that the run began with but number 1 was "two words"/);
});

commandTest("folders that would make nonsense are refused by train", async (folder) => {
  await writePictures(`${folder}/gap`, ["full"], 4);
  await Deno.mkdir(`${folder}/gap/empty`);
  await writePictures(`${folder}/mixed`, ["full"], 4);
  await writePictures(`${folder}/mixed`, [], 1);
  await writePictures(`${folder}/loop`, ["full"], 4);
  await makeLinks({ [`${folder}/loop/full/again`]: ".." });
  await Deno.mkdir(`${folder}/nothing`);
  await Deno.writeTextFile(`${folder}/file`, "");
  await Deno.mkdir(`${folder}/broken`);
  for (let i = 0; i < 4; i++) await Deno.writeTextFile(`${folder}/broken/${i}.png`, "no picture");
  const cases: Record<string, RegExp> = {
    gap: /expected images \(jpg, png, webp, gif\) in every class but found none in empty/,
    mixed: /expected either images or a folder for each class but found both: 000\.png beside full/,
    loop: /loop.full.again: expected images but it is a link back to loop, which has no end/,
    nothing: /expected images \(jpg, png, webp, gif\), or a folder of them for each class/,
    file: /--data file: .*[Nn]ot a directory/,
    broken: /all 4 images are damaged, such as broken.\d\.png: .*unsupported image format/,
  };
  const lines = Object.keys(cases).map((data) => ["train", ...TINY, "--data", data]);
  for (const [i, ended] of (await commandLines(lines, folder)).entries()) {
    assertRefused(ended, Object.values(cases)[i]!);
  }
  // the run's own pictures would be a class the next time
  await writePictures(`${folder}/fine`, ["full"], 4);
  const inside = ["--data", "fine", "--results-dir", "fine/results"];
  assertRefused(
    await train(folder, ...TINY, ...inside),
    /--results-dir: .* outside of --data fine/,
  );
});

commandTest("what may not be read is left out, or refused where it is a folder", async (folder) => {
  if (Deno.build.os === "windows") return; // whose rights are others
  await writePictures(`${folder}/photos`, ["cat"], 4);
  const picture = `${folder}/photos/cat/001.png`;
  await Deno.chmod(picture, 0);
  if (await Deno.readFile(picture).then(() => true, () => false)) return; // root reads everything
  const args = [...TINY, "--data", "photos", "--epochs", "1"];
  const { code, out, err } = await train(folder, ...args);
  assertEquals(code, 0, err);
  assertMatch(out, /damaged {2}1 of 4 images left out: .*001\.png: Permission denied/);
  assertRefused(await train(folder, ...args, "--strict"), /001\.png: .*Permission denied/);
  await Deno.chmod(`${folder}/photos/cat`, 0);
  const closed = await train(folder, ...args);
  await Deno.chmod(`${folder}/photos/cat`, 0o755);
  assertRefused(closed, /--data photos: .*Permission denied.*cat/);
});

commandTest(
  "one class is trained on without conditions, and sampled without guidance",
  async (folder) => {
    await writePictures(`${folder}/flat`, [], 4);
    await writePictures(`${folder}/one`, ["discs"], 4);
    const draw = ["--steps", "2", "--sample-every", "2", "--sample-steps", "2"];
    for (const [i, [data, name]] of [["flat", "flat"], ["one", "discs"]].entries()) {
      const { code, out, err } = await train(folder, ...TINY, "--data", data!, ...draw);
      assertEquals(code, 0, err);
      assertStringIncludes(
        out,
        `classes  one only (${name}): nothing to condition on, so the model is unconditional, and ` +
          "its samples are not guided",
      );
      const run = `${folder}/results/00${i}-DiT-Mini-4`;
      const { config, training } = await lastHeader(run);
      assertEquals([config.nullClass, config.dit.classDropoutProb, config.dit.numClasses], [
        null,
        0,
        1,
      ]);
      assertEquals(training!.settings.toggle("strict"), false);
      const classes = JSON.parse(await Deno.readTextFile(`${run}/classes.json`));
      assertEquals(classes, { 0: name });
    }
    const run = ["--ckpt", "results/000-DiT-Mini-4", "--num-sampling-steps", "2", "--n", "1"];
    const sampled = await command("sample", [...run, "--out", "plain.png"], folder);
    assertEquals(sampled.code, 0, sampled.err);
    expect(sampled.out).not.toMatch(/guidance \d/);
    const guided = await command("sample", [...run, "--out", "x.png", "--cfg-scale", "4"], folder);
    assertRefused(guided, /trained without a null class, which guidance needs/);
  },
);

commandTest("a checkpoint from before there was --strict is resumed", async (folder) => {
  await writePictures(`${folder}/photos`, ["a", "b"], 4);
  const args = [...TINY, "--data", "photos", "--steps", "2"];
  assertEquals((await train(folder, ...args)).code, 0);
  const run = `${folder}/results/000-DiT-Mini-4`;
  const { path } = (await listCheckpoints(run)).at(-1)!;
  const text = new TextDecoder("latin1").decode(await Deno.readFile(path));
  // the header is JSON in JSON; its length must not change
  const former = text.replace(/\\"strict\\":false,/, (found) => " ".repeat(found.length));
  assert(former !== text);
  await Deno.writeFile(path, Uint8Array.from(former, (c) => c.charCodeAt(0)));
  assertEquals((await lastHeader(run)).training!.settings.has("strict"), false);
  const { code, out, err } = await train(folder, "--resume", run, "--steps", "4");
  assertEquals(code, 0, err);
  assertStringIncludes(out, "from step 2 to 4");
  assertEquals((await lastHeader(run)).training!.settings.toggle("strict"), false);
});

/** Moves what is kept to another place, behind a symbolic link; false where links are not allowed. */
async function linkCrops(folder: string): Promise<boolean> {
  await Deno.rename(`${folder}/crops`, `${folder}/disk`);
  const script =
    `try { Deno.symlinkSync("disk", "crops", { type: "dir" }) } catch { Deno.exit(1) }`;
  const { success } = await new Deno.Command("deno", {
    args: ["eval", script],
    cwd: folder,
  }).output();
  return success;
}

commandTest(
  "crops of large images are kept for the next run, unless they are not to be",
  async (folder) => {
    const photos = `${folder}/photos`;
    await writePictures(photos, ["a", "b"], 4);
    for (let i = 0; i < 8; i++) { // as large as photographs, by their files
      await Deno.truncate(`${photos}/${i < 4 ? "a" : "b"}/00${i % 4}.png`, 2 ** 21);
    }
    const losses = async (run: string) => {
      const lines = await Deno.readTextFile(`${folder}/${run}/000-DiT-Mini-4/metrics.jsonl`);
      return lines.trim().split("\n").map((line) => JSON.parse(line).loss);
    };
    const args = (data: string, results: string) => {
      return [...TINY, "--steps", "4", "--data", data, "--results-dir", results];
    };
    // nothing is written among the images, where crops would be a class the next time
    const [off, inside] = await Promise.all([
      train(folder, ...args("photos", "off"), "--crop-cache", "0"),
      train(photos, ...args(".", "../inside")),
    ]);
    for (const { code, out, err } of [off, inside]) {
      assertEquals(code, 0, err);
      expect(out).not.toMatch(/^crops/m);
    }
    assertEquals((await Array.fromAsync(Deno.readDir(photos))).length, 2);
    await assertRejects(() => Deno.stat(`${folder}/crops`), Deno.errors.NotFound);
    for (const results of ["first", "second", "linked"]) {
      if (results === "linked" && !await linkCrops(folder)) break;
      const { code, out, err } = await train(folder, ...args("photos", results));
      assertEquals(code, 0, err);
      const [, file] =
        /^crops {4}kept for later epochs and runs: (crops.photos-16-\w+\.crops), 6\.4 kB at most$/m
          .exec(out)!;
      assertEquals((await Deno.stat(`${folder}/${file}`)).size, 8 * (32 + 1 + 3 * 16 ** 2));
      assertEquals(await losses(results), await losses("off"));
    }
    assertEquals(await losses("inside"), await losses("off"));
  },
);
