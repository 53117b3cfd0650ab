import { assertEquals } from "@std/assert";
import { join } from "@std/path";
import { tuneFile, tuneFolder } from "./folder.ts";

Deno.test("measured plans are kept below the folder that each system has for caches", () => {
  const folder = (variables: Record<string, string>, os: typeof Deno.build.os) =>
    tuneFolder((name) => variables[name], os);
  assertEquals(folder({ HOME: "/home/u" }, "linux"), join("/home/u", ".cache", "dit"));
  assertEquals(folder({ HOME: "/home/u", XDG_CACHE_HOME: "/c" }, "linux"), join("/c", "dit"));
  assertEquals(
    folder({ HOME: "/Users/u" }, "darwin"),
    join("/Users/u", "Library", "Caches", "dit"),
  );
  assertEquals(folder({ LOCALAPPDATA: "C:\\L", HOME: "/x" }, "windows"), join("C:\\L", "dit"));
  assertEquals(folder({ HOME: "/home/u", DIT_TUNE_DIR: "here" }, "linux"), "here");
  assertEquals(folder({}, "linux"), null);
  assertEquals(folder({ HOME: "/x" }, "windows"), null);
});

Deno.test("each GPU has a file of its own, whatever its name", () => {
  assertEquals(tuneFile("c", "NVIDIA H200"), join("c", "tune-nvidia-h200.json"));
  assertEquals(
    tuneFile("c", "AMD Radeon(TM) 780M / x"),
    join("c", "tune-amd-radeon-tm-780m-x.json"),
  );
  assertEquals(tuneFile("c", "../.."), join("c", "tune-unnamed.json"));
});
