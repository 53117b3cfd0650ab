import { assertEquals, assertRejects } from "@std/assert";
import { join } from "@std/path";
import { diskTest } from "../tests/fixtures.ts";
import { DataError } from "./errors.ts";
import { byCodePoint, listFolder } from "./folder.ts";

Deno.test("byCodePoint() is the order of Python's sorted()", () => {
  // as python3 gives it
  const sorted = [
    "1",
    "10",
    "2",
    "Zebra",
    "_",
    "a",
    "ab",
    "ant",
    "a\u{301}",
    "class10",
    "class2",
    "e\u{301}",
    "\u{e4}",
    "\u{e9}",
    "\u{d7ff}",
    "\u{e000}",
    "\u{ff21}",
    "\u{ffff}",
    "\u{1f408}",
    "\u{1f408}a",
    "\u{1f415}",
    "\u{10ffff}",
  ];
  assertEquals(sorted.toReversed().sort(byCodePoint), sorted);
  assertEquals(byCodePoint("cat", "cat"), 0);
  // JavaScript's own order is another
  assertEquals(["\u{ff21}", "\u{1f408}"].sort(), ["\u{1f408}", "\u{ff21}"]);
});

diskTest("a folder is listed without what is hidden and what systems put there", async (folder) => {
  for (const name of ["a", ".git", "@eaDir", "#recycle", "__MACOSX", "lost+found"]) {
    await Deno.mkdir(join(folder, name));
  }
  for (const name of ["0.npy", "._0.npy", ".DS_Store", "Thumbs.db"]) {
    await Deno.writeTextFile(join(folder, name), "");
  }
  const { folders, files } = await listFolder(folder);
  assertEquals([folders, files.sort()], [["a"], ["0.npy", "Thumbs.db"]]);
});

diskTest("what is no folder is refused, and says what was expected", async (folder) => {
  const refuse = (path: string, message: string) =>
    assertRejects(
      () => listFolder(path, { expected: "a folder of labels" }),
      DataError,
      `${path}: expected a folder of labels but ${message}`,
    );
  await refuse(join(folder, "none"), "found nothing there");
  await Deno.writeTextFile(join(folder, "file"), "");
  await refuse(join(folder, "file"), "it is not a directory");
});

diskTest("a folder whose name is no UTF-8 is refused, its name escaped", async (folder) => {
  await Deno.mkdir(join(folder, "\ufffd of its own")); // which can be opened
  assertEquals((await listFolder(folder)).folders, ["\ufffd of its own"]);
  const { readDir } = Deno; // such a name cannot be made from here
  Deno.readDir = async function* () {
    yield { name: "caf\ufffd", isDirectory: true, isFile: false, isSymlink: false };
  };
  try {
    await assertRejects(
      () => listFolder(folder),
      DataError,
      `${folder}: expected names of folders in UTF-8 but found "caf\\ufffd"; rename it`,
    );
  } finally {
    Deno.readDir = readDir;
  }
});
