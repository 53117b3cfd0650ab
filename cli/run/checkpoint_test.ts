import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { expect } from "@std/expect";
import { hostTensor, type LazyTensor, saveSafetensors, saveTorch } from "@dit/core/io";
import { DIT } from "@dit/core/pipeline";
import { SMALL } from "../../tests/commands.ts";
import { diskTest } from "../../tests/fixtures.ts";
import { checkpointPath, findCheckpoint } from "./find.ts";
import { CommandError } from "../shared/errors.ts";
import { openCheckpoint, writeCheckpoint } from "./checkpoint.ts";

const header = (step: number) => ({ trainee: "dit", step, config: SMALL, training: null });
const weight = (value: number) => new Map([["w", hostTensor(Float32Array.of(value), [1])]]);

async function write(run: string, ...steps: number[]): Promise<void> {
  await Deno.mkdir(`${run}/checkpoints`, { recursive: true });
  for (const step of steps) {
    await writeCheckpoint(checkpointPath(run, step), header(step), { ema: weight(step) });
  }
}

diskTest("a checkpoint gives back what was written, by section", async (folder) => {
  await write(folder, 12_345_678);
  using checkpoint = await openCheckpoint(await findCheckpoint(folder), DIT);
  assertEquals(checkpoint.header, { step: 12_345_678, config: SMALL, training: null });
  assertEquals([checkpoint.has("ema"), checkpoint.has("model")], [true, false]);
  const state = await checkpoint.state("ema");
  assertEquals(state.get("w"), weight(12_345_678).get("w"));
});

diskTest(
  "a checkpoint that cannot be written whole leaves those before it alone",
  async (folder) => {
    await write(folder, 1);
    const full: LazyTensor = {
      dtype: "f32",
      shape: [1],
      read: () => Promise.reject(new Error("No space left on device")),
    };
    await assertRejects(
      () => writeCheckpoint(checkpointPath(folder, 2), header(2), { ema: new Map([["w", full]]) }),
      CommandError,
      "0000002.safetensors: No space left on device",
    );
    const left = Array.from(Deno.readDirSync(`${folder}/checkpoints`), ({ name }) => name);
    assertEquals(left, ["0000001.safetensors"]);
  },
);

diskTest("other files are not taken for checkpoints", async (folder) => {
  const path = `${folder}/other.safetensors`;
  await saveSafetensors(path, weight(1));
  await assertRejects(() => openCheckpoint(path, DIT), CommandError, "found other weights");
  await saveSafetensors(path, weight(1), [["format", "dit checkpoint"], ["version", "2"]]);
  const error = await assertRejects(() => openCheckpoint(path, DIT), CommandError);
  assertStringIncludes(error.message, "use a newer release");
});

diskTest("a damaged checkpoint is distinguished from a file of another kind", async (folder) => {
  const path = `${folder}/0000001.safetensors`;
  const messageFor = async (content: string): Promise<string> => {
    await Deno.writeTextFile(path, content);
    return (await assertRejects(() => openCheckpoint(path, DIT), CommandError)).message;
  };
  for (const damaged of ["", "\0".repeat(100)]) {
    expect(await messageFor(damaged)).toContain("The checkpoint is damaged");
  }
  expect(await messageFor("\x10\0\0\0\0\0\0\0{")).toContain("The checkpoint is damaged");
  const pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n";
  const message = await messageFor(pointer);
  expect(message).toContain("bring the file itself with: git lfs pull");
  expect(message).not.toContain("damaged");
});

diskTest("weights alone are no checkpoint, and what takes them is said", async (folder) => {
  await saveTorch(`${folder}/other.pt`, weight(1));
  await saveSafetensors(`${folder}/other.safetensors`, weight(1));
  const cases = { "other.pt": "a file of PyTorch", "other.safetensors": "other weights" };
  for (const [name, found] of Object.entries(cases)) {
    const { message } = await assertRejects(
      () => openCheckpoint(`${folder}/${name}`, DIT, "give --init"),
      CommandError,
    );
    assertStringIncludes(message, `${name}: expected a checkpoint of \`deno task train\``);
    assertStringIncludes(message, `but found ${found}; give --init`);
  }
});
