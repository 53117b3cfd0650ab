import { assert, assertEquals, assertThrows } from "@std/assert";
import { UsageError } from "./shared/errors.ts";
import { denoArguments, isSafe, launcherOf } from "./launch.ts";

const written = (command: string, ...args: string[]): string | undefined =>
  denoArguments(command, args).find((arg) => arg.startsWith("--allow-write"));

Deno.test("a command may write to the folder that is named, though it look like a number", () => {
  assertEquals(written("train", "--results-dir", "007"), "--allow-write=007");
  assertEquals(written("train-vae", "--out=1e3", "--resume"), "--allow-write=1e3,crops");
  assertEquals(written("export", "--out", "0x10"), "--allow-write=0x10");
  assertEquals(written("extract-features", "--out", "-1"), "--allow-write=-1");
  // a file is written under another name first
  assertEquals(written("evaluate", "--page", "pages/x.html"), "--allow-write=evaluation,pages");
  assertEquals(
    written("train", "--resume", "runs/1/checkpoints/0000002.safetensors", "--results-dir", "runs"),
    "--allow-write=runs,runs/1,evaluation,crops",
  );
});

Deno.test("a flag without its value gives no rights", () => {
  assert(!denoArguments("export", ["--out"]).includes("--allow-write="));
  assert(!denoArguments("train-vae", ["--out", "--strict"]).includes("--allow-write="));
  assertEquals(written("train", "--resume"), "--allow-write=results,crops");
  assertEquals(written("train-vae", "--resume", "--steps", "9"), "--allow-write=results/vae,crops");
});

Deno.test("crops of images are written where a folder of them is trained on, unless off", () => {
  assertEquals(written("train"), "--allow-write=results");
  assertEquals(written("train", "--data", "mnist"), "--allow-write=results");
  assertEquals(written("train", "--data", "photos"), "--allow-write=results,crops");
  for (const size of ["0", "0.0", "none"]) { // the last of which the command refuses
    assertEquals(
      written("train", "--data", "photos", "--crop-cache", size),
      "--allow-write=results",
    );
    assertEquals(written("train-vae", `--crop-cache=${size}`), "--allow-write=results/vae");
  }
  assertEquals(written("extract-features", "--data", "photos"), "--allow-write=features");
});

Deno.test("a server may listen where it is told to, and nowhere if that is no address", () => {
  const net = (...args: string[]) =>
    denoArguments("serve", args).find((arg) => arg.startsWith("--allow-net"));
  assertEquals(net(), "--allow-net=127.0.0.1:8000");
  assertEquals(net("--host", "::1", "--port", "0"), "--allow-net=[::1]:0");
  assertEquals(net("--host", "gpu-1.example.org"), "--allow-net=gpu-1.example.org:8000");
  for (const port of ["65536", "-1", "abc", "8000,example.org", "1.5"]) {
    assertEquals(net("--port", port), undefined, port);
  }
  for (const host of ["http://x", "a,b", "a b", "[::1]", "::g", "localhost:9", "*", "a..b", "-"]) {
    assertEquals(net("--host", host), undefined, host);
  }
});

Deno.test("what computes may keep measured plans where the user's cache is, and nothing else may", () => {
  const rights = (command: string, folder: string | null) =>
    denoArguments(command, [], null, folder).find((arg) => arg.startsWith("--allow-write"));
  assertEquals(rights("train", "/cache/dit"), "--allow-write=results,/cache/dit");
  assertEquals(rights("tune", "/cache/dit"), "--allow-write=/cache/dit");
  assertEquals(rights("tune", null), undefined);
  assertEquals(rights("serve", "/a,b"), undefined);
  assertEquals(rights("export", "/cache/dit"), undefined);
});

Deno.test("only what decodes images may load native code", () => {
  const isNative = (...args: string[]) => denoArguments("train", args).includes("--allow-ffi");
  assertEquals(isNative("--steps", "3"), false);
  assertEquals(isNative("--data", "mnist"), false);
  assertEquals(isNative("--data", "emoji"), true);
  for (const flag of ["--data", "--data-path", "--feature-path", "--resume"]) {
    assertEquals(isNative(flag, "toString"), true, flag);
  }
});

Deno.test("Dawn may be loaded where it is named, and sees nothing of the environment", () => {
  const rights = (...args: string[]) => denoArguments("sample", args);
  assert(rights("--gpu", "dawn").includes("--allow-ffi"));
  assert(rights("--gpu=dawn").includes("--allow-ffi"));
  assert(!rights("--gpu", "dawn").includes("--allow-env"));
  for (const args of [[], ["--gpu", "deno"], ["--gpu"]]) {
    assert(!rights(...args).includes("--allow-ffi"), args.join(" "));
  }
});

Deno.test("a rank may load MPI's library, unless its launcher is left aside", () => {
  const variables: Record<string, string> = {
    OMPI_COMM_WORLD_SIZE: "2",
    OMPI_COMM_WORLD_RANK: "1",
  };
  const launcher = (command: string, ...args: string[]) =>
    launcherOf(command, args, (name) => variables[name]);
  const rights = (...args: string[]) => denoArguments("train", args, launcher("train", ...args));
  assert(rights("--steps", "3").includes("--allow-ffi"));
  assert(rights("--steps", "3").includes("--allow-env"));
  assert(!rights("--distributed", "off").includes("--allow-ffi"));
  assertThrows(
    () => launcher("download"),
    UsageError,
    "expected to be started once, but mpirun of Open MPI started 2 processes; train, ",
  );
  variables["OMPI_COMM_WORLD_SIZE"] = "1";
  assertEquals(launcher("download"), null);
});

Deno.test("the fast tier is declined however the flag for that is written", () => {
  for (const args of [["--safe-wasm"], ["--safe-wasm=true"], ["--safe-wasm", "a.npz"]]) {
    assert(isSafe(args), args.join(" "));
  }
  for (const args of [[], ["--safe-wasm=false"], ["--no-safe-wasm"], ["--steps", "3"]]) {
    assert(!isSafe(args), args.join(" "));
  }
});
