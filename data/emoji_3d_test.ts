import { assert, assertEquals, assertRejects } from "@std/assert";
import { join } from "@std/path";
import { diskTest } from "../tests/fixtures.ts";
import { packagesMissing, testUnless } from "../tests/npm.ts";
import { decodeImage } from "./decode.ts";
import { EMOJI_3D_PACKAGES, makeEmoji3DFolder } from "./emoji_3d.ts";
import { DataError } from "./errors.ts";
import { imagesBlocked } from "./image_test_util.ts";
import { npmFolder } from "./npm_package.ts";

/** Why there are no emoji here, or undefined where there are. */
const missing = imagesBlocked ?? await packagesMissing(...EMOJI_3D_PACKAGES);

testUnless(
  missing,
  diskTest,
  "emoji become a folder of small pictures by class, on white",
  async (folder) => {
    const made = join(folder, "new", "emoji");
    await Deno.mkdir(join(`${made}.unfinished`, "half"), { recursive: true }); // of a killed process
    const calls: number[] = [];
    const onProgress = (done: number): number => calls.push(done);
    const counts = await makeEmoji3DFolder(made, { size: 16, classes: ["activities"], onProgress });
    assertEquals([...counts], [["activities", 85]]);
    assertEquals(Array.from(Deno.readDirSync(made), ({ name }) => name).sort(), [
      "SOURCES.md",
      "activities",
    ]);
    assertEquals(calls.at(-1), 85);
    const balloon = await Deno.readFile(join(made, "activities", "1f388.png"));
    const { width, height, pixels } = await decodeImage(balloon);
    assertEquals([width, height, ...pixels.subarray(0, 3)], [16, 16, 255, 255, 255]);
    const [red, green] = pixels.subarray(3 * (5 * 16 + 8));
    assert(red! > 180 && green! < 120, "a red balloon");
    await assertRejects(() => makeEmoji3DFolder(made), DataError, "exists already");
  },
);

testUnless(missing, diskTest, "classes of emoji that do not exist are refused", async (folder) => {
  await assertRejects(
    () => makeEmoji3DFolder(join(folder, "emoji"), { classes: ["flags", "cars"] }),
    DataError,
    "activities, animals-nature, flags, food-drink, objects",
  );
});

Deno.test("a package that does not exist is an error that says what to do", async () => {
  await assertRejects(
    () => npmFolder("file:///nowhere", " or give a folder"),
    DataError,
    "connect to the npm registry once or give a folder",
  );
});
