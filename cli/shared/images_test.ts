import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { encodePng } from "@dit/data";
import { imageTest } from "../../data/image_test_util.ts";
import { CommandError } from "./errors.ts";
import { findings, openImages } from "./images.ts";

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

imageTest("latents are refused where images are expected", async (folder) => {
  await Deno.mkdir(`${folder}/x_features`);
  await Deno.writeTextFile(`${folder}/x_features/0.npy`, "");
  const open = () => openImages(folder, { size: 2, workers: 0, warn() {} });
  await assertRejects(open, CommandError, "expected images but found latents made of them");
});
