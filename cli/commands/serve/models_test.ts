import { assert, assertEquals, assertRejects } from "@std/assert";
import { bytesSource, SafetensorsFile, saveSafetensors } from "@dit/core/io";
import { Checkpoint, DIT } from "@dit/core/pipeline";
import { vaeConfigOf } from "@dit/core/vae";
import { isId } from "@dit/web";
import {
  SMALL,
  SMALL_VAE,
  smallLatents,
  smallVaeWeights,
  smallWeights,
  writeRun,
} from "../../../tests/commands.ts";
import { diskTest, makeLinks } from "../../../tests/fixtures.ts";
import { autoencoderDigest } from "../../model/autoencoder.ts";
import { DEMO_NAMES, demoPath } from "../../model/demos.ts";
import { CommandError } from "../../shared/errors.ts";
import { exists } from "../../shared/files.ts";
import { demoId, Models } from "./models.ts";
import type { ServedFile } from "./http/ranges.ts";
import { autoencoderFile, weightsFile } from "./weights_of.ts";

async function bytesOf(
  { read }: ServedFile,
  start: number,
  end: number,
): Promise<Uint8Array<ArrayBuffer>> {
  return await new Blob(await Array.fromAsync(read(start, end))).bytes();
}

diskTest(
  "models are those of runs, of --ckpt, and the demo's, by ids that are no paths",
  async (folder) => {
    const results = `${folder}/results`;
    for (const step of [1, 2, 3, 4, 5, 6]) await writeRun(results, "000-small", step);
    await Deno.copyFile(
      `${results}/000-small/checkpoints/0000004.safetensors`,
      `${results}/000-small/best.safetensors`,
    );
    await writeRun(`${folder}/outside`, "001-secret", 1);
    await Deno.mkdir(`${results}/002-broken/checkpoints`, { recursive: true });
    await Deno.writeTextFile(`${results}/002-broken/checkpoints/0000001.safetensors`, "half writ");
    await makeLinks({ [`${results}/003-link`]: `${folder}/outside/001-secret` });
    const ckpt = await writeRun(`${folder}/other`, "my run", 7);
    const models = new Models({ results, ckpt, flags: {} });
    const demos: string[] = [];
    for (const name of DEMO_NAMES) if (await exists(demoPath(name))) demos.push(demoId(name));
    assertEquals(demos[0], "demo");
    const listed = (await models.list()).filter(({ id }) => !id.startsWith("published"));
    assertEquals(listed.map(({ id }) => id), [
      "ckpt.0000007.safetensors",
      "000-small.6",
      "000-small.5",
      "000-small.4",
      "000-small.3",
      "000-small.2",
      "000-small.best",
      ...demos,
    ]);
    assert(listed.every(({ id }) => isId(id)));
    const [, newest] = listed;
    assertEquals(newest!.info.title, "small, run 000-small, step 6");
    assertEquals(newest!.info.classNames, SMALL.classNames);
    assertEquals((await models.find("demo"))!.info.parameters, 1_284_920);
    assertEquals(await models.find("../demo"), undefined);
    const best = `${results}/000-small/best.safetensors`;
    await Deno.copyFile(best, `${best}.new`);
    await Deno.rename(`${best}.new`, best); // as a better one is written
    const versionOf = async (models: Models) => (await models.find("000-small.best"))!.info.version;
    const anew = new Models({ results, ckpt: undefined, flags: {} });
    assert(await versionOf(anew) !== await versionOf(models));
    await Deno.remove(`${results}/000-small`, { recursive: true });
    const later = new Models({ results, ckpt: undefined, flags: {} });
    assertEquals((await later.list()).filter(({ id }) => id.startsWith("000")), []);
    const none = new Models({ results, ckpt: `${folder}/none.pt`, flags: {} });
    await assertRejects(() => none.checkCkpt(), CommandError, "found nothing");
  },
);

diskTest("weights are served as a checkpoint without anything else, by ranges", async (folder) => {
  const ema = await smallWeights(SMALL);
  const path = `${folder}/model.safetensors`;
  await saveSafetensors(path, ema, [["note", "/home/somebody"]]);
  const models = new Models({ results: `${folder}/none`, ckpt: path, flags: { "num-heads": 4 } });
  const [model] = await models.list();
  const file = await weightsFile(model!);
  const bytes = await bytesOf(file, 0, file.size);
  assertEquals(bytes.length, file.size);
  assert(!new TextDecoder("latin1").decode(bytes).includes("somebody"));
  using checkpoint = Checkpoint.of(await SafetensorsFile.from(bytesSource(bytes)), DIT);
  assertEquals(checkpoint.header.config.dit.hiddenSize, SMALL.dit.hiddenSize);
  assertEquals(checkpoint.header.training, null);
  assertEquals(await checkpoint.state("ema"), ema);
  for (const [start, end] of [[0, 1], [7, 4000], [file.size - 1000, file.size], [5000, 5001]]) {
    assertEquals(await bytesOf(file, start!, end!), bytes.slice(start, end));
  }
});

diskTest(
  "a model of latents comes with its autoencoder, and without the path of it",
  async (folder) => {
    const vae = `${folder}/vae.safetensors`;
    const weights = await smallVaeWeights();
    const config = JSON.stringify(vaeConfigOf(SMALL_VAE));
    await saveSafetensors(vae, weights, [["config", config]]);
    const results = `${folder}/results`;
    await writeRun(results, "000-latents", 1, smallLatents({ inputSize: 4 }, vae));
    await writeRun(results, "001-lost", 1, smallLatents({ inputSize: 4 }, `${folder}/lost`));
    const [lost, model] = await new Models({ results, ckpt: undefined, flags: {} }).list();
    assertEquals([model!.info.isLatent, model!.info.imageSize, model!.info.channels], [
      true,
      32,
      3,
    ]);
    const file = (await autoencoderFile(model!))!;
    const read = await SafetensorsFile.from(bytesSource(await bytesOf(file, 0, file.size)));
    assertEquals([read.keys().length, read.metadata.get("config")], [weights.size, config]);
    const served = await weightsFile(model!);
    const text = new TextDecoder("latin1").decode(await bytesOf(served, 0, served.size));
    assert(text.includes("autoencoder.safetensors") && !text.includes(folder));
    assertEquals([lost!.vaePath, await autoencoderFile(lost!)], [null, undefined]);
  },
);

diskTest(
  "an autoencoder that was trained again is not handed out, unless it is named",
  async (folder) => {
    const path = `${folder}/vae.safetensors`;
    const config = JSON.stringify(vaeConfigOf(SMALL_VAE));
    await saveSafetensors(path, await smallVaeWeights(), [["config", config]]);
    const results = `${folder}/results`;
    const made = smallLatents({ inputSize: 4 }, path);
    const served = async (vaeSha256: string, flags: { vae?: string } = {}) => {
      const latents = { ...made.latents!, vaeSha256 };
      await Deno.remove(results, { recursive: true }).catch(() => {});
      await writeRun(results, "000-latents", 1, { ...made, latents });
      const [model] = await new Models({ results, ckpt: undefined, flags }).list();
      return await autoencoderFile(model!);
    };
    const right = await autoencoderDigest(path);
    assert(await served(right));
    await assertRejects(() => served("0".repeat(64)), CommandError, "but its weights are others");
    assert(await served("0".repeat(64), { vae: path }));
  },
);
