/** `deno task extract-features` from end to end. */
import { assert, assertAlmostEquals, assertEquals, assertStringIncludes } from "@std/assert";
import { saveSafetensors } from "@dit/core/io";
import { LatentDataset, loadManifest, NpyFeatures } from "@dit/data";
import { vaeConfigOf } from "@dit/core/vae";
import { command, commandTest, type Ended, SMALL_VAE, smallVaeWeights, words } from "./commands.ts";
import { writePictures } from "./pictures.ts";

const VAE = { ...SMALL_VAE, scalingFactor: 0.5 };

/** Runs the command on pictures of 32x32. */
function extract(folder: string, ...args: string[]): Promise<Ended> {
  const usual = ["--device", "wasm", "--data", "pictures", "--vae", "vae", "--image-size", "32"];
  return command("extract-features", [...usual, "--num-workers", "1", ...args], folder);
}

async function writeVae(path: string, change = 0): Promise<void> {
  const weights = await smallVaeWeights();
  weights.get("encoder.conv_in.weight")!.data[0]! ^= change;
  await Deno.mkdir(path);
  await Deno.writeTextFile(`${path}/config.json`, JSON.stringify(vaeConfigOf(VAE)));
  await saveSafetensors(`${path}/diffusion_pytorch_model.safetensors`, weights);
}

/** Sixteen pictures in two classes, and a small autoencoder. */
async function prepare(folder: string): Promise<void> {
  await writePictures(`${folder}/pictures`, ["discs", "spots"], 8);
  await writeVae(`${folder}/vae`);
}

function assertDone({ code, out, err }: Ended): void {
  assertEquals(code, 0, out + err);
}

/** Which file is at a path, and since when. */
async function written(path: string): Promise<unknown> {
  const { ino, mtime } = await Deno.stat(path);
  return { ino, mtime };
}

function assertRefused({ code, out, err }: Ended, ...words: string[]): void {
  assert(code === 1 || code === 2, out + err);
  for (const word of words) assertStringIncludes(err, word);
  assert(!err.includes("at file:"), err); // a sentence, not a stack
}

commandTest(
  "latents are of both sides of every image, and an extraction continues without change",
  async (folder) => {
    await prepare(folder);
    const done = await extract(folder, "--shard-size", "6");
    assertDone(done);
    assertStringIncludes(done.out, "images/s");
    const latents = `${folder}/features`;
    {
      using dataset = await LatentDataset.open(latents, { verify: true });
      assertEquals([dataset.size, dataset.channels, dataset.height], [16, 4, 4]);
      assertEquals(dataset.classNames, ["discs", "spots"]);
      assertEquals([...dataset.labels], [...Array(8).fill(0), ...Array(8).fill(1)]);
      assertEquals(dataset.settings.scalingFactor, 0.5);
      const flips = [false, true, false];
      const { images } = await dataset.read([3, 3, 4], { flips });
      const [a, b, c] = [0, 1, 2].map((i) => images.slice(i * 64, (i + 1) * 64));
      assert(new Set([a, b, c].map(String)).size === 3, "expected three latents that differ");
    }
    // A shard that is lost is made again as it was; the others are left alone.
    const names = [0, 1, 2].map((n) => `${latents}/shard-0000${n}.safetensors`);
    const bytes = await Promise.all(names.map((name) => Deno.readFile(name)));
    await Deno.remove(names[1]!);
    const kept = [names[0]!, names[2]!];
    const before = await Promise.all(kept.map(written));
    assertDone(await extract(folder, "--shard-size", "6", "--vae", "./vae"));
    assertEquals(await Promise.all(kept.map(written)), before);
    assertEquals(await Deno.readFile(names[1]!), bytes[1]);

    assertRefused(await extract(folder, "--shard-size", "6", "--tile", "16"), "tile 16");
    const [was, now] = ["000", "aaa"].map((name) => `${folder}/pictures/discs/${name}.png`);
    await Deno.rename(was!, now!);
    assertRefused(await extract(folder, "--shard-size", "6"), "files", "take another folder");
    await Deno.rename(now!, was!);

    await Deno.remove(`${folder}/vae`, { recursive: true });
    await writeVae(`${folder}/vae`, 1);
    assertRefused(await extract(folder, "--shard-size", "6"), "vae", "take another folder");
  },
);

commandTest("an extraction that is killed continues and writes no shard twice", async (folder) => {
  await prepare(folder);
  const launch = new URL("../cli/launch.ts", import.meta.url).href;
  const args = words("--data pictures --vae vae --image-size 32 --device wasm");
  const shards = words("--shard-size 1 --batch-size 1 --num-workers 1");
  const child = new Deno.Command("deno", {
    args: [
      ...words("run --quiet --allow-run --allow-env"),
      launch,
      "extract-features",
      ...args,
      ...shards,
    ],
    cwd: folder,
    stdout: "null",
    stderr: "null",
  }).spawn();
  const complete = async () => {
    try {
      return (await loadManifest(`${folder}/features`))?.shards ?? [];
    } catch {
      return []; // between two manifests
    }
  };
  while ((await complete()).length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
  child.kill("SIGKILL");
  await child.status;
  // What it started ends with it, after the batch that it is at.
  let first = await complete();
  for (let same = 0; same < 5;) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    const next = await complete();
    same = next.length === first.length ? same + 1 : 0;
    first = next;
  }
  const paths = first.map(({ file }) => `${folder}/features/${file}`);
  const before = await Promise.all(paths.map(written));
  assertDone(await extract(folder, ...shards));
  using dataset = await LatentDataset.open(`${folder}/features`, { verify: true });
  assertEquals(dataset.size, 16);
  assertEquals(await Promise.all(paths.map(written)), before);
});

commandTest("the original's layout holds the samples that shards hold", async (folder) => {
  await prepare(folder);
  const [npy, shards] = await Promise.all([
    extract(folder, "--layout", "npy", "--flips", "--features-path", "npy"),
    extract(folder, "--kind", "sample", "--out", "shards", "--dtype", "f16"),
  ]);
  assertDone(npy);
  assertDone(shards);
  const files = await NpyFeatures.open(`${folder}/npy`);
  using dataset = await LatentDataset.open(`${folder}/shards`);
  assertEquals([files.size, files.classNames.length], [32, 2]);
  const [a, b] = [
    await files.read([5, 16 + 5]),
    await dataset.read([5, 5], { flips: [false, true] }),
  ];
  assertEquals(a.labels, b.labels);
  a.images.forEach((value, i) => assertAlmostEquals(value, b.images[i]!, 2e-3));

  await Deno.remove(`${folder}/npy/imagenet32_features/7.npy`);
  const again = await extract(folder, "--layout", "npy", "--flips", "--out", "npy");
  assertDone(again);
  assertStringIncludes(again.err, "15 images are done already");
  await Deno.truncate(`${folder}/npy/imagenet32_features/7.npy`, 30);
  const damaged = await extract(folder, "--layout", "npy", "--flips", "--out", "npy");
  assertRefused(damaged, "7.npy", "remove the file where it is damaged");
  assertRefused(await extract(folder, "--layout", "npy", "--out", "shards"), "expected shards");
  assertRefused(await extract(folder, "--layout", "npy", "--out", "npy"), "flips");
});

commandTest("folders that would make nonsense are refused", async (folder) => {
  await prepare(folder);
  await Deno.mkdir(`${folder}/gap/empty`, { recursive: true });
  await writePictures(`${folder}/gap`, ["full"], 1);
  const runs = await Promise.all([
    extract(folder, "--data", "gap"),
    extract(folder, "--out", "pictures/latents"),
    extract(folder, "--imgae-size", "64"),
    extract(folder, "--image-size", "36"),
  ]);
  assertRefused(runs[0], "empty");
  assertRefused(runs[1], "--out", "outside");
  assertRefused(runs[2], "--imgae-size", "did you mean --image-size");
  assertRefused(runs[3], "--image-size", "multiple of 8");
});

commandTest(
  "pictures without classes are one class, enlarged where they are small",
  async (folder) => {
    await writePictures(`${folder}/pictures`, [], 3);
    await writeVae(`${folder}/vae`);
    await Deno.writeTextFile(`${folder}/pictures/broken.png`, "no picture");
    const done = await extract(folder, "--image-size", "64", "--no-flips");
    assertDone(done);
    assertStringIncludes(done.out, "unconditional");
    assertStringIncludes(done.err, "broken.png");
    assertStringIncludes(done.out, "enlarged 3 images smaller than 64x64");
    assertStringIncludes(done.out, "damaged  1 of 4 images left out: pictures/broken.png: ");
    using dataset = await LatentDataset.open(`${folder}/features`);
    assertEquals([dataset.size, dataset.height, dataset.flippable], [3, 8, false]);
    assertRefused(await extract(folder, "--no-flips"), "imageSize");
  },
);
