import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { encodePng } from "@dit/data";
import { imageTest } from "../../data/image_test_util.ts";
import { onRanks } from "../distributed/world_test_util.ts";
import { CommandError } from "./errors.ts";
import { allFindings, findings, openImages } from "./images.ts";

imageTest("the first damaged images are reported, and all of them counted", async (folder) => {
  await Deno.writeFile(`${folder}/sound.png`, await encodePng(new Uint8Array(12), 2, 2, 3));
  for (let i = 0; i < 30; i++) await Deno.writeTextFile(`${folder}/bad ${i}\n.png`, "");
  const warnings: string[] = [];
  const warn = (message: string): number => warnings.push(message);
  await using images = await openImages(folder, { size: 2, workers: 0, warn });
  await images.read([...images.labels.keys()]);
  assertEquals(warnings.length, 21);
  assertMatch(warnings[0]!, /^left out ".*bad \d+\\n\.png": the file is empty$/); // a line each
  assertMatch(warnings[20]!, /^left out more/);
  const [damaged] = findings(images);
  assertMatch(damaged!, /^damaged +30 of 31 images left out: ".*; and 25 more$/);
});

imageTest("what ranks found in different images is counted once", async (folder) => {
  await Deno.writeFile(`${folder}/s.png`, await encodePng(new Uint8Array(12), 2, 2, 3));
  for (const name of ["a", "b", "c"]) await Deno.writeTextFile(`${folder}/${name}.png`, "");
  const shares = [[0, 3], [1, 0, 3], [2, 1]];
  const all = await onRanks(3, async (world) => {
    await using images = await openImages(folder, { size: 4, workers: 0, warn() {} });
    await images.readSound(shares[world.rank]!);
    return await allFindings(world, images);
  });
  for (const [enlarged, damaged] of all) {
    assertEquals(enlarged, "enlarged 1 image smaller than 4x4");
    assertMatch(damaged!, /^damaged +3 of 4 images left out: .*a\.png: .*b\.png: .*c\.png: [^;]*$/);
  }
});

imageTest("latents are refused where images are expected", async (folder) => {
  await Deno.mkdir(`${folder}/x_features`);
  await Deno.writeTextFile(`${folder}/x_features/0.npy`, "");
  const open = () => openImages(folder, { size: 2, workers: 0, warn() {} });
  await assertRejects(open, CommandError, "expected images but found latents made of them");
});
