import { assertEquals } from "@std/assert";
import { imageTest } from "../../../data/image_test_util.ts";
import { SMALL, writeRun } from "../../../tests/commands.ts";
import { writePictures } from "../../../tests/pictures.ts";
import { ALONE } from "../../distributed/world.ts";
import { parseFlags } from "../../shared/flags.ts";
import { TRAIN_FLAGS } from "./flags.ts";
import { openNewRun } from "./new_run.ts";
import { sameRun } from "./settings.ts";

imageTest(
  "a run that begins with a model of pixels trains on pixels at any size",
  async (folder) => {
    await writePictures(`${folder}/pictures`, ["a", "b"], 2);
    const dit = {
      ...SMALL.dit,
      inputSize: 128,
      patchSize: 32,
      inChannels: 3,
      hiddenSize: 8,
      numHeads: 1,
    };
    const init = await writeRun(folder, "before", 1, { ...SMALL, dit });
    const line = [
      "--data",
      `${folder}/pictures`,
      "--init",
      init,
      "--batch-size",
      "2",
      "--steps",
      "1",
    ];
    const flags = parseFlags([...line, "--device", "wasm", "--crop-cache", "0"], TRAIN_FLAGS);
    await using run = await openNewRun(flags, ALONE);
    assertEquals([run.config.latents, run.settings.vae, run.settings.imageSize], [
      null,
      "none",
      128,
    ]);
    assertEquals(sameRun(flags, run), true, "it is found again without --vae as well");
  },
);
