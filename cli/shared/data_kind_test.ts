import { assertEquals, assertRejects } from "@std/assert";
import { saveNpyFeature } from "@dit/data";
import { diskTest } from "../../tests/fixtures.ts";
import { dataKind } from "./data_kind.ts";
import { CommandError } from "./errors.ts";
import { FETCHED_DATA } from "./named_data.ts";

diskTest("data are recognised by their name or by what is in their folder", async (folder) => {
  const kindOf = async (name: string) => (await dataKind(`${folder}/${name}`)).kind;
  const file = async (name: string, text = "") => {
    await Deno.mkdir(`${folder}/${name}/..`, { recursive: true });
    await Deno.writeTextFile(`${folder}/${name}`, text);
  };
  for (const name of FETCHED_DATA) assertEquals((await dataKind(name)).kind, "named");
  await file("digits/train-images-idx3-ubyte.gz");
  assertEquals(await kindOf("digits"), "named");
  await file("letters/emnist-letters-train-images-idx3-ubyte");
  await file("cifar10/data_batch_1.bin");
  assertEquals([await kindOf("letters"), await kindOf("cifar10")], ["named", "named"]);
  await file("images/cat/a.png");
  await file("images/manifest.json", "{}"); // another program's
  await file("images/.hidden/x_features/0.npy");
  await file("images/cat_features/a.png");
  assertEquals(await kindOf("images"), "images");
  const feature = { number: 0, latent: new Float32Array(4), shape: [1, 2, 2], label: 0 };
  await saveNpyFeature(`${folder}/npy`, 16, feature);
  assertEquals(await kindOf("npy"), "npy");
  await assertRejects(
    () => dataKind(`${folder}/none`),
    CommandError,
    "expected mnist, emoji or a folder but found nothing there",
  );
});
