import { assert, assertEquals, assertRejects } from "@std/assert";
import { join } from "@std/path";
import { diskTest } from "../tests/fixtures.ts";
import { packagesMissing, testUnless } from "../tests/npm.ts";
import { toPixels } from "./byte_image.ts";
import { decodeImage } from "./decode.ts";
import { drawEmoji, drawEmojiFolder, EMOJI_PACKAGES, loadDrawings } from "./emoji.ts";
import { DataError } from "./errors.ts";
import { imagesBlocked, imageTest } from "./image_test_util.ts";
import { drawSvg } from "./svg.ts";

/** Why there are no emoji here, or undefined where there are. */
const missing = imagesBlocked ?? await packagesMissing(...EMOJI_PACKAGES);

/** What `--data emoji` says of them in its help. */
const COUNT = 7677;

testUnless(missing, diskTest, "emoji are drawn at any size, on white", async (folder) => {
  const drawings = await loadDrawings();
  assertEquals(drawings.length, COUNT);
  assertEquals(new Set(drawings.map(({ className }) => className)).size, 85);
  const balloons = drawings.filter(({ name }) => name === "balloon");
  const classNames = ["emojione", "fluent", "noto", "twemoji"].map((of) => `activities-${of}`);
  const done: number[] = [];
  for (const workers of [0, 2]) {
    const options = { size: 20, workers, onProgress: (n: number) => done.push(n) };
    const images = await drawEmoji(balloons, options);
    assertEquals(images.classNames, classNames);
    assertEquals([...images.labels], [0, 1, 2, 3]);
    const { images: values, shape } = await images.read([0, 1, 2, 3]);
    assertEquals(shape, [4, 3, 20, 20]);
    const pixels = toPixels(values, images);
    for (let i = 0; i < 4; i++) {
      const [corner, middle] = [0, 7 * 20 + 10].map((at) => 3 * (400 * i + at));
      assertEquals([...pixels.subarray(corner, corner! + 3)], [255, 255, 255]);
      const [red, green] = pixels.subarray(middle);
      assert(red! > 180 && green! < 120, `${classNames[i]}: a red balloon`);
    }
  }
  assertEquals(done, [1, 2, 3, 4, 1, 2, 3, 4]);

  const store = join(folder, "crops"); // kept for later, as long as the file is whole
  const drawn = async (mostBytes?: number) => {
    done.length = 0;
    const onProgress = (n: number) => done.push(n);
    const keep = { folder: store, ...(mostBytes === undefined ? {} : { mostBytes }) };
    const images = await drawEmoji(balloons, { size: 20, workers: 0, onProgress, keep });
    return { drawn: done.length, images: (await images.read([0, 1, 2, 3])).images };
  };
  const first = await drawn(1e6);
  const again = await drawn();
  assertEquals([first.drawn, again.drawn], [4, 0]);
  assertEquals(again.images, first.images);
  const [{ name: file }] = [...Deno.readDirSync(store)] as [Deno.DirEntry];
  const whole = await Deno.readFile(join(store, file));
  for (const broken of [whole.slice(0, -1), whole.with(40, whole[40]! ^ 1)]) {
    await Deno.writeFile(join(store, file), broken);
    assertEquals((await drawn()).drawn, 4);
  }
  assertEquals((await drawn(1e6)).drawn, 4);
  assertEquals((await drawn(1e6)).drawn, 0);

  const made = join(folder, "emoji"); // and as files, which say where they are from
  const counts = await drawEmojiFolder(balloons, made, { size: 8, classes: classNames.slice(1) });
  assertEquals([...counts], classNames.slice(1).map((name) => [name, 1]));
  const png = await Deno.readFile(join(made, classNames[1]!, "balloon.png"));
  const { width, height } = await decodeImage(png);
  assertEquals([width, height], [8, 8]);
  const notice = await Deno.readTextFile(join(made, "SOURCES.md"));
  for (const licence of ["Apache-2.0", "CC-BY-4.0", "MIT"]) assert(notice.includes(licence));
});

imageTest("a drawing that is none, or has another size, is an error", async () => {
  const svg = '<svg xmlns="http://www.w3.org/2000/svg" width="4" height="4"/>';
  assertEquals([...await drawSvg(svg, 4)], Array(48).fill(255));
  await assertRejects(() => drawSvg(svg, 3), DataError, "a drawing: expected 3x3 pixels");
  await assertRejects(() => drawSvg("<svg", 4), DataError, "a drawing: ");
  await assertRejects(() => drawEmoji([], { size: 0 }), RangeError, "1 pixel or more");
});
