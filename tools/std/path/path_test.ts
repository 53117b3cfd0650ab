import { assertEquals, assertThrows } from "@std/assert";
import * as posix from "@std/path/posix";
import * as windows from "@std/path/windows";
import * as path from "@std/path";

Deno.test("@std/path follows the system it runs on", () => {
  const family = Deno.build.os === "windows" ? windows : posix;
  assertEquals(path.join("a", "..", "b", "c.txt"), family.join("b", "c.txt"));
  assertEquals(path.fromFileUrl(path.toFileUrl(path.resolve("x y"))), path.resolve("x y"));
});

Deno.test("normalize() and join() shorten paths", () => {
  for (
    const [given, expected] of [
      ["", "."],
      [".", "."],
      ["./", "./"],
      ["a//b/./c/", "a/b/c/"],
      ["a/../..", ".."],
      ["../a", "../a"],
      ["/../a", "/a"],
      ["/", "/"],
      ["//a", "/a"],
    ] as const
  ) assertEquals(posix.normalize(given), expected, given);
  for (
    const [given, expected] of [
      ["", "."],
      ["a//b\\.\\c/", "a\\b\\c\\"],
      ["C:", "C:."],
      ["C:/../a", "C:\\a"],
      ["C:a/../..", "C:.."],
      ["\\\\host\\share\\a\\..\\..", "\\\\host\\share\\"],
    ] as const
  ) assertEquals(windows.normalize(given), expected, given);
  assertEquals(posix.join("a", "", "/b", "../c"), "a/c");
  assertEquals(posix.join(""), ".");
  assertEquals(posix.join("/", "a"), "/a");
  assertEquals(posix.join(new URL("file:///a%20b/"), "c"), "/a b/c");
  assertEquals(windows.join("C:\\", "a", "b"), "C:\\a\\b");
  assertEquals(windows.join("\\", "a"), "\\a");
  assertEquals(windows.join("//", "a"), "\\a");
  assertEquals(windows.join("//host/share", "a"), "\\\\host\\share\\a");
});

Deno.test("dirname() and basename() take paths apart", () => {
  for (
    const [given, dir, base] of [
      ["/a/b.txt", "/a", "b.txt"],
      ["a/b/", "a", "b"],
      ["/a", "/", "a"],
      ["a", ".", "a"],
      ["/", "/", "/"],
      [".npmrc", ".", ".npmrc"],
      ["x/..", "x", ".."],
      ["a.tar.gz", ".", "a.tar.gz"],
      ["a.", ".", "a."],
    ] as const
  ) {
    assertEquals(posix.dirname(given), dir, given);
    assertEquals(posix.basename(given), base, given);
  }
  assertEquals(posix.basename("/a/b.txt", ".txt"), "b");
  assertEquals(posix.basename("/a/.txt", ".txt"), ".txt");
  assertEquals(posix.basename(new URL("file:///a/b.txt")), "b.txt");
  assertEquals(windows.dirname("C:\\a\\b.txt"), "C:\\a");
  assertEquals(windows.dirname("C:\\a"), "C:\\");
  assertEquals(windows.basename("C:\\a\\b.txt"), "b.txt");
  assertEquals(windows.basename("a/b.txt"), "b.txt");
});

Deno.test("resolve() and relative() work from the working directory", () => {
  assertEquals(posix.resolve("/a", "b", "../c"), "/a/c");
  assertEquals(posix.resolve("/a", "/b/"), "/b");
  assertEquals(posix.resolve("/"), "/");
  assertEquals(posix.relative("/a/b/c", "/a/d"), "../../d");
  assertEquals(posix.relative("/a", "/a/b"), "b");
  assertEquals(posix.relative("/a", "/a"), "");
  assertEquals(windows.relative("C:\\a\\b", "C:\\A\\c"), "..\\c");
  assertEquals(windows.relative("C:\\a", "D:\\b"), "D:\\b");
  assertEquals(windows.resolve("C:\\a", "..\\b"), "C:\\b");
  assertEquals(windows.resolve("C:\\a", "\\b"), "C:\\b");
  if (Deno.build.os !== "windows") assertEquals(posix.resolve("x"), `${Deno.cwd()}/x`);
});

Deno.test("isAbsolute() knows roots, drives and shares", () => {
  assertEquals(["/a", "a", ""].map(posix.isAbsolute), [true, false, false]);
  assertEquals(
    ["C:\\a", "C:a", "\\a", "//host/share", "a"].map(windows.isAbsolute),
    [true, false, true, true, false],
  );
});

Deno.test("fromFileUrl() and toFileUrl() undo each other", () => {
  for (const name of ["/a/b", "/a b/ü.txt", "/100%/x#y?z", "/a\\b", "/tab\there"]) {
    assertEquals(posix.fromFileUrl(posix.toFileUrl(name)), name);
  }
  assertEquals(posix.toFileUrl("/a b").href, "file:///a%20b");
  assertEquals(posix.fromFileUrl("file:///a%25b%zz"), "/a%b%zz");
  for (const name of ["C:\\a b\\c", "\\\\host\\share\\a"]) {
    assertEquals(windows.fromFileUrl(windows.toFileUrl(name)), name);
  }
  assertEquals(windows.toFileUrl("C:\\a").href, "file:///C:/a");
  assertThrows(() => posix.fromFileUrl("https://example.org/"), TypeError, "file URL");
  assertThrows(() => posix.toFileUrl("a"), TypeError, "absolute");
});
