import { assertRejects } from "@std/assert";
import { PROCESSES, type ProcessKind, type ProcessName } from "@dit/core/diffusion";
import { commandTest, SMALL, writeRun } from "../../../tests/commands.ts";
import { CommandError } from "../../shared/errors.ts";
import { run } from "./command.ts";

commandTest("export refuses models of another process than other programs have", async (folder) => {
  // as if it had been added: files of a process that this program does not know are refused before
  const rows = PROCESSES as Record<string, ProcessKind>;
  rows["line"] = rows["flow"]!;
  using stack = new DisposableStack();
  stack.defer(() => delete rows["line"]);
  const diffusion = { ...SMALL.diffusion, process: "line" as ProcessName };
  const ckpt = await writeRun(`${folder}/results`, "000-run", 1, { ...SMALL, diffusion });
  const cases = [["original", "model.pt", "gaussian or flow"], ["diffusers", "folder", "gaussian"]];
  for (const [to, out, known] of cases as [string, string, string][]) {
    await assertRejects(
      () => run(["--to", to, "--ckpt", ckpt, "--out", `${folder}/${out}`]),
      CommandError,
      `0000001.safetensors: expected a model of the process ${known} but got line`,
    );
  }
});
