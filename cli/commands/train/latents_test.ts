import { assertRejects } from "@std/assert";
import { hostTensor, saveNpy } from "@dit/core/io";
import { diskTest } from "../../../tests/fixtures.ts";
import { CommandError } from "../../shared/errors.ts";
import { openData } from "./data.ts";
import { settingsOf } from "./settings.ts";

diskTest("latents that are no numbers are refused when they are opened", async (folder) => {
  for (const kind of ["features", "labels"]) await Deno.mkdir(`${folder}/imagenet16_${kind}`);
  for (let i = 0; i < 4; i++) {
    const latent = new Float32Array(16).fill(i === 2 ? NaN : i);
    await saveNpy(`${folder}/imagenet16_features/${i}.npy`, hostTensor(latent, [1, 4, 2, 2]));
    await saveNpy(`${folder}/imagenet16_labels/${i}.npy`, hostTensor(Int32Array.of(i % 2), [1]));
  }
  await assertRejects(
    () => openData(settingsOf({ data: folder }), { usualSize: 32, warn() {} }),
    CommandError,
    "imagenet16_features/2.npy: expected finite numbers but found NaN",
  );
});
