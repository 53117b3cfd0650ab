import { assertEquals, assertRejects } from "@std/assert";
import { join } from "@std/path";
import { diskTest, makeLinks } from "../tests/fixtures.ts";
import { DataError } from "./errors.ts";
import { listImages } from "./image_listing.ts";

/** Empty files: nothing is opened when a folder is listed. */
async function touch(folder: string, ...paths: string[]): Promise<void> {
  for (const path of paths) {
    await Deno.mkdir(join(folder, path, ".."), { recursive: true });
    await Deno.writeTextFile(join(folder, path), "");
  }
}

diskTest("classes are numbered by code point, whatever their names are", async (folder) => {
  const names = ["ant", "class10", "class2", "red, round", "two words", "猫", "Ａ", "🐈"];
  await touch(folder, "Zebra/x.jpg", ...names.toReversed().map((name) => `${name}/x y,z.JPEG`));
  const { classNames, labels, paths } = await listImages(folder);
  assertEquals(classNames, ["Zebra", ...names]);
  assertEquals([...labels], [...classNames.keys()]);
  assertEquals(paths[4], join(folder, "red, round", "x y,z.JPEG"));
});

diskTest("files that are no images are counted and left alone, hidden ones not", async (folder) => {
  await touch(folder, "a/x.png", "a/x.txt", "a/b/Thumbs.db", "labels.csv");
  await touch(folder, ".cache/x.png", "a/.y.png", "a/.b/z.png", "a/._x.png", ".DS_Store");
  await touch(folder, "@eaDir/x.png", "a/@eaDir/x.png/thumb.jpg", "__MACOSX/a/._x.png");
  const { paths, ignored, classNames } = await listImages(folder);
  assertEquals(paths, [join(folder, "a", "x.png")]);
  assertEquals([ignored, classNames], [3, ["a"]]);
});

diskTest("links to images and to folders are followed", async (folder) => {
  await touch(folder, "elsewhere/x.png", "data/a/y.png");
  await makeLinks({
    [join(folder, "data", "b")]: "../elsewhere",
    [join(folder, "data", "a", "x.png")]: "../../elsewhere/x.png",
    [join(folder, "data", "a", "z.png")]: "nothing.png", // damaged, once it is read
    [join(folder, "data", "c")]: "nothing",
  });
  const { paths, classNames, ignored } = await listImages(join(folder, "data"));
  assertEquals(classNames, ["a", "b"]);
  const names = ["a/x.png", "a/y.png", "a/z.png", "b/x.png"];
  assertEquals(paths, names.map((name) => join(folder, "data", name)));
  assertEquals(ignored, 1);
});

diskTest("a link that leads back to where it lies is an error that names it", async (folder) => {
  const loops: [link: string, target: string, back: string][] = [
    ["around", ".", "."],
    ["a/self", ".", "a"],
    ["a/b/up", "../..", "."],
    ["a/b/there", "../../../other", "a/b"], // which has a link to a/b
  ];
  const dataOf = (i: number) => join(folder, `${i}`, "data");
  const links: Record<string, string> = {};
  for (const [i, [link, target]] of loops.entries()) {
    await touch(dataOf(i), "a/b/x.png", "../other/x.png");
    links[join(dataOf(i), "..", "other", "again")] = "../data/a/b";
    links[join(dataOf(i), link)] = target;
  }
  await makeLinks(links);
  for (const [i, [link, , back]] of loops.entries()) {
    const data = dataOf(i);
    const where = i === 3 ? join(data, link, "again") : join(data, link);
    await assertRejects(
      () => listImages(data),
      DataError,
      `${where}: expected images but it is a link back to ${join(data, back)},`,
    );
  }
});

diskTest("a folder says what it lacks", async (folder) => {
  const refuse = (path: string, message: string) =>
    assertRejects(() => listImages(path), DataError, `${path}: expected ${message}`);
  await refuse(join(folder, "none"), "a folder of images but found nothing there");
  await refuse(folder, "images (jpg, png, webp, gif), or a folder of them for each class");
  await touch(folder, "cat/a.png", "bird/b.tif");
  await refuse(folder, "images (jpg, png, webp, gif) in every class but found none in bird");
  await touch(folder, "stray.png");
  await refuse(folder, "either images or a folder for each class but found both: stray.png beside");
});
