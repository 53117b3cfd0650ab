import { assert, assertEquals } from "@std/assert";
import { denoArguments } from "./launch.ts";

const written = (command: string, ...args: string[]): string | undefined =>
  denoArguments(command, args).find((arg) => arg.startsWith("--allow-write"));

Deno.test("a command may write to the very folder that it is told, though it look like a number", () => {
  assertEquals(written("train", "--results-dir", "007"), "--allow-write=007");
  assertEquals(written("train-vae", "--out=1e3", "--resume"), "--allow-write=1e3");
  assertEquals(written("export", "--out", "0x10"), "--allow-write=0x10");
  assertEquals(
    written("train", "--resume", "runs/1/checkpoints/2.safetensors", "--results-dir", "runs"),
    "--allow-write=runs,runs/1",
  );
});

Deno.test("a flag without its value gives no rights", () => {
  assert(!denoArguments("export", ["--out"]).includes("--allow-write="));
  assertEquals(written("train", "--resume"), "--allow-write=results");
});
