/** `deno task train-vae` from end to end: up to pictures sampled through what it makes. */
import { assert, assertAlmostEquals, assertEquals, assertStringIncludes } from "@std/assert";
import { loadSafetensors, SafetensorsFile } from "@dit/core/io";
import { LatentDataset } from "@dit/data";
import { command, commandTest, type Ended, pngSize } from "./commands.ts";
import { writePictures } from "./pictures.ts";

const SMALL = ["--image-size", "32", "--channels", "4,8,8", "--batch-size", "4"];

function trainVae(folder: string, ...args: string[]): Promise<Ended> {
  return command("train-vae", ["--device", "wasm", "--num-workers", "1", ...args], folder);
}

function assertDone({ code, out, err }: Ended): void {
  assertEquals(code, 0, out + err);
}

commandTest(
  "an autoencoder is trained, makes latents, and is found by its folder",
  async (folder) => {
    await writePictures(`${folder}/pictures`, ["discs", "spots"], 8);
    const trained = await trainVae(folder, "--data", "pictures", "--steps", "6", ...SMALL);
    assertDone(trained);
    assertStringIncludes(trained.out, "scaling factor");
    const vae = `${folder}/results/vae`;
    const grid = await Deno.readFile(`${vae}/reconstructions.png`);
    assertEquals(pngSize(grid), [8 * 34 + 2, 4 * 34 + 2]);
    const config = JSON.parse(await Deno.readTextFile(`${vae}/config.json`));
    assertEquals(config.block_out_channels, [4, 8, 8]);
    {
      using file = await SafetensorsFile.open(`${vae}/diffusion_pytorch_model.safetensors`);
      assertEquals(file.metadata.get("format"), "pt");
      assertEquals(JSON.parse(file.metadata.get("config")!), config);
    }
    // The weights alone are enough.
    await Deno.rename(`${vae}/diffusion_pytorch_model.safetensors`, `${folder}/small.safetensors`);
    const extracted = await command("extract-features", [
      ...["--data", "pictures", "--vae", "small.safetensors", "--image-size", "32"],
      ...["--device", "wasm", "--num-workers", "1"],
    ], folder);
    assertDone(extracted);
    using dataset = await LatentDataset.open(`${folder}/features`);
    assertEquals([dataset.channels, dataset.height], [4, 8]);
    assertAlmostEquals(dataset.settings.scalingFactor, config.scaling_factor, 1e-12);
    const indices = Array.from({ length: 16 }, (_, i) => i);
    const positions = indices;
    const { images } = await dataset.read(indices, { noise: { seed: 1n, epoch: 0, positions } });
    const mean = images.reduce((sum, x) => sum + x, 0) / images.length;
    const std = Math.sqrt(images.reduce((sum, x) => sum + (x - mean) ** 2, 0) / images.length);
    assertAlmostEquals(std, 1, 0.05);
  },
);

commandTest("a run that is continued ends as one that was not interrupted", async (folder) => {
  await writePictures(`${folder}/pictures`, [], 16);
  const usual = ["--data", "pictures", "--warmup", "2", "--steps", "6", ...SMALL];
  const whole = trainVae(folder, ...usual, "--out", "whole");
  const parts = async () => {
    const launch = new URL("../cli/launch.ts", import.meta.url).href;
    const child = new Deno.Command("deno", {
      args: [
        ...["run", "--quiet", "--allow-run=deno", "--allow-env", launch, "train-vae"],
        ...["--device", "wasm", "--num-workers", "1", ...usual],
        ...["--out", "parts", "--ckpt-every", "2"],
      ],
      cwd: folder,
      stdout: "null",
      stderr: "null",
    }).spawn();
    const file = `${folder}/parts/training.safetensors`;
    while (!await Deno.stat(file).then(() => true, () => false)) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    child.kill("SIGTERM");
    const { code } = await child.status;
    assert(code === 130 || code === 0, `expected an interrupted run but it ended with ${code}`);
    assertDone(await trainVae(folder, "--resume", "--out", "parts"));
  };
  const [ended] = await Promise.all([whole, parts()]);
  assertDone(ended);
  const [a, b] = await Promise.all(
    ["whole", "parts"].map((run) => {
      return loadSafetensors(`${folder}/${run}/diffusion_pytorch_model.safetensors`);
    }),
  );
  assertEquals(a, b);
  const refused = await trainVae(folder, "--resume", "--out", "parts", "--lr", "1");
  assertEquals(refused.code, 2);
  assertStringIncludes(refused.err, "--lr cannot be changed");
});

commandTest("train-vae refuses flags that do not fit, and says the nearest", async (folder) => {
  await writePictures(`${folder}/pictures`, [], 2);
  const runs = await Promise.all([
    trainVae(folder, "--data", "pictures", "--chanels", "4"),
    trainVae(folder, "--data", "pictures", "--channels", "4,8,8", "--image-size", "30"),
    trainVae(folder, "--data", "pictures", ...SMALL),
    trainVae(folder),
  ]);
  const words = ["did you mean --channels", "multiple of 4", "make the batch smaller", "--data"];
  runs.forEach(({ code, err }, i) => {
    assert(code === 1 || code === 2, err);
    assertStringIncludes(err, words[i]!);
  });
});
