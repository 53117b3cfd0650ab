import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { saveSafetensors } from "@dit/core/io";
import { init } from "@dit/core/tensor";
import { AutoencoderKL } from "@dit/core/vae";
import { imageTest } from "../../../data/image_test_util.ts";
import { SMALL_VAE, smallVaeWeights } from "../../../tests/commands.ts";
import { onRanks } from "../../distributed/world_test_util.ts";
import { ALONE } from "../../distributed/world.ts";
import { CommandError, UsageError } from "../../shared/errors.ts";
import { openImages } from "../../shared/images.ts";
import { extractSettings } from "./flags.ts";
import { agreedSettings, idleText } from "./latent_settings.ts";

imageTest("ranks of machines whose images or weights differ are refused", async (folder) => {
  const weights = await smallVaeWeights();
  for (const machine of ["a", "b", "c"]) {
    await Deno.mkdir(`${folder}/${machine}`);
    const name = machine === "b" ? "other.png" : "one.png";
    await Deno.writeTextFile(`${folder}/${machine}/${name}`, "");
    if (machine === "c") weights.get("encoder.conv_in.weight")!.data[0]! ^= 1;
    await saveSafetensors(`${folder}/${machine}/vae.safetensors`, weights);
  }
  const device = await init({ device: "reference" });
  using vae = new AutoencoderKL(SMALL_VAE);
  const settings = extractSettings({ data: "images", out: `${folder}/out`, "image-size": 32 });
  /** As a rank on each of the machines. */
  const agreed = (machines: readonly string[]) =>
    onRanks(machines.length, async (world) => {
      const own = `${folder}/${machines[world.rank]}`;
      await using images = await openImages(own, { size: 32, workers: 0, warn() {} });
      const opened = { images, vae, path: `${own}/vae.safetensors`, device };
      return await agreedSettings(world, settings, opened);
    });
  const [first, second] = await agreed(["a", "a"]);
  assertEquals(first, second);
  const count = (count: number, shardSize: number) => ({ ...first!, count, shardSize });
  assertEquals(idleText(4, count(4000, 1000)), null);
  assertStringIncludes(idleText(8, count(4000, 1000))!, "--shard-size 500");
  await assertRejects(
    () => agreed(["a", "a", "b"]),
    CommandError,
    "the names of the images in images: expected the same on all 3 ranks but rank 2 has",
  );
  await assertRejects(() => agreed(["a", "c"]), CommandError, "the weights of the autoencoder");
});

imageTest("tiles smaller than what a latent stands for are refused", async (folder) => {
  await Deno.writeTextFile(`${folder}/one.png`, "");
  const device = await init({ device: "reference" });
  using vae = new AutoencoderKL({ ...SMALL_VAE, blockOutChannels: [4, 4, 4, 4, 4] });
  await using images = await openImages(folder, { size: 32, workers: 0, warn() {} });
  const settings = extractSettings({ data: folder, "image-size": 32, tile: 8 });
  await assertRejects(
    () => agreedSettings(ALONE, settings, { images, vae, path: "vae", device }),
    UsageError,
    "--tile: expected 16 or more, the pixels of the autoencoder's latents, but got 8",
  );
});
