/** `deno task train-vae` from end to end: up to pictures sampled through what it makes. */
import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { loadSafetensors, SafetensorsFile } from "@dit/core/io";
import { LatentDataset } from "@dit/data";
import type { Metrics } from "../cli/run/metrics.ts";
import { command, commandTest, type Ended, pngSize, words } from "./commands.ts";
import { writePictures } from "./pictures.ts";

/** Parts of a batch, in half precision. */
const HALVES = ["--grad-accum", "2", "--mixed-precision", "fp16"];
const SMALL = ["--image-size", "32", "--channels", "4,8,8", "--batch-size", "4"];

function trainVae(folder: string, ...args: string[]): Promise<Ended> {
  return command("train-vae", ["--device", "wasm", "--num-workers", "1", ...args], folder);
}

function assertDone({ code, out, err }: Ended): void {
  assertEquals(code, 0, out + err);
}

function metricsOf(out: string): Metrics[] {
  const lines = Deno.readTextFileSync(`${out}/metrics.jsonl`).trim().split("\n");
  return lines.map((line) => JSON.parse(line));
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
    const extracted = await command(
      "extract-features",
      words(
        "--data pictures --vae small.safetensors --image-size 32",
        "--device wasm --num-workers 1",
      ),
      folder,
    );
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

for (const [name, flags] of Object.entries({ "": [], " in parts and half precision": HALVES })) {
  commandTest(
    `a run${name} that is continued ends as one that was not interrupted`,
    async (folder) => {
      await writePictures(`${folder}/pictures`, [], 16);
      const usual = ["--data", "pictures", "--warmup", "2", "--steps", "6", ...SMALL, ...flags];
      const whole = trainVae(folder, ...usual, "--log-every", "2", "--out", "whole");
      const parts = async () => {
        const launch = new URL("../cli/launch.ts", import.meta.url).href;
        const child = new Deno.Command("deno", {
          args: [
            ...words("run --quiet --allow-run --allow-env"),
            launch,
            "train-vae",
            ...words("--device wasm --num-workers 1"),
            ...usual,
            ...words("--out parts --ckpt-every 2 --log-every 2"),
          ],
          cwd: folder,
          stdout: "null",
          stderr: "null",
        }).spawn();
        const file = `${folder}/parts/checkpoints/0000002.safetensors`;
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
      const steps = (run: string) => metricsOf(`${folder}/${run}`).map(({ step }) => step);
      assertEquals([steps("whole"), steps("parts")], [[2, 4, 6], [2, 4, 6]]);
      const refused = await trainVae(folder, "--resume", "--out", "parts", "--lr", "1");
      assertEquals(refused.code, 2);
      assertStringIncludes(refused.err, "--lr: the run has 0.001 but got 1");
    },
  );
}

commandTest("train-vae says what it measures, and keeps it", async (folder) => {
  await writePictures(`${folder}/pictures`, ["a"], 7);
  await Deno.writeTextFile(`${folder}/pictures/a/bad.png`, "no picture");
  const usual = ["--data", "pictures", ...SMALL, "--steps", "4", "--log-every", "2"];
  const { code, out, err } = await trainVae(folder, ...usual, ...HALVES, "--image-size", "64");
  assertEquals(code, 0, out + err);
  assertMatch(
    out,
    /^step 2\/4 {2}loss [\d.]+, kl [\d.e-]+ nats, PSNR [\d.-]+ dB, lr [\d.e-]+, [\d.e+-]+ steps\/s/m,
  );
  assertStringIncludes(err, "left out pictures/a/bad.png: ");
  assertMatch(out, /^damaged {2}1 of 8 images left out: pictures.a.bad\.png: /m);
  assertMatch(out, /^enlarged 7 images smaller than 64x64$/m);
  const lines = metricsOf(`${folder}/results/vae`);
  assertEquals(lines.map(({ step, damaged, skipped }) => [step, damaged, skipped]), [
    [2, 1, 0],
    [4, 1, 0],
  ]);
  for (const { loss, kl, gradNorm, lr, scale, waiting } of lines) {
    assert(loss > 0 && kl! > 0 && gradNorm > 0 && lr > 0 && scale! > 0 && waiting >= 0);
  }
  const strict = await trainVae(folder, ...usual, "--out", "strict", "--strict");
  assertEquals(strict.code, 1);
  assertMatch(strict.err, /bad\.png: damaged image: /);
  assertEquals(strict.err.includes("at file:"), false, "a stack is no answer");
});

commandTest("train-vae refuses flags that do not fit, and says the nearest", async (folder) => {
  await writePictures(`${folder}/pictures`, [], 2);
  await Deno.mkdir(`${folder}/published`);
  await Deno.writeTextFile(`${folder}/published/diffusion_pytorch_model.safetensors`, "weights");
  const runs = await Promise.all([
    trainVae(folder, "--data", "pictures", "--chanels", "4"),
    trainVae(folder, "--data", "pictures", "--channels", "4,8,8", "--image-size", "30"),
    trainVae(folder, "--data", "pictures", ...SMALL),
    trainVae(folder),
    trainVae(folder, "--data", "pictures", ...SMALL, "--grad-accum", "3"),
    trainVae(folder, "--data", "pictures", "--mixed-precision", "fp8"),
    trainVae(folder, "--data", "pictures", "--out", "published"),
  ]);
  const messages = [
    "did you mean --channels",
    "multiple of 4",
    "--batch-size: expected 2 at most",
    "--data",
    "--grad-accum: expected a number of equal parts of a batch of 4 but got 3",
    "no, fp16",
    "model.safetensors is there already; take another",
  ];
  runs.forEach(({ code, err }, i) => {
    assert(code === 1 || code === 2, err);
    assertStringIncludes(err, messages[i]!);
  });
});
