/** `deno task download emoji-3d`: the pictures of the README's second example. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { ImageFolder } from "@dit/data";
import { command, commandTest } from "./commands.ts";
import { imagesBlocked } from "../data/image_test_util.ts";
import { EMOJI_3D_PACKAGES } from "../data/emoji_3d.ts";
import { packagesMissing, testUnless } from "./npm.ts";

/** Why there are no emoji here, or undefined where there are. */
const missing = imagesBlocked ?? await packagesMissing(...EMOJI_3D_PACKAGES);

testUnless(missing, commandTest, "download makes a folder of emoji to train on", async (folder) => {
  const args = ["emoji-3d", "--classes", "activities", "--size", "32", "--dir", "my pictures"];
  const { code, out, err } = await command("download", args, folder);
  assertEquals(code, 0, err);
  assertStringIncludes(out, "85 pictures of 32x32");
  assertStringIncludes(out, "deno task train --data");
  await using images = await ImageFolder.open(`${folder}/my pictures/emoji-3d`, {
    size: 32,
    workers: 0,
  });
  assertEquals([images.size, images.classNames], [85, ["activities"]]);
  const again = await command("download", args, folder);
  assertEquals(again.code, 1, again.out);
  assertStringIncludes(again.err, "exists already");
});

commandTest("download says which pictures there are, and refuses others", async (folder) => {
  const [listed, size, large, comma] = await Promise.all([
    command("download", [], folder),
    command("download", ["sd-vae-ft-mse", "--size", "32"], folder),
    command("download", ["emoji-3d", "--size", "512"], folder),
    command("download", ["emoji-3d", "--dir", "a, b"], folder),
  ]);
  assertStringIncludes(listed.out, "1,854 pictures in 9 classes");
  assertStringIncludes(listed.out, "7,677 pictures in 85 classes");
  assertEquals([size.code, large.code, comma.code], [2, 2, 2]);
  assertStringIncludes(size.err, "--size: expected pictures to download (emoji, emoji-3d) with it");
  assertStringIncludes(large.err, "--size: expected 256 at most but got 512");
  assertStringIncludes(
    comma.err,
    'expected a path to write to without a comma but got "a, b"',
  );
});
