import { assert, assertEquals, assertMatch } from "@std/assert";
import { DeviceLostError } from "@dit/core/tensor";
import { diskTest } from "../../tests/fixtures.ts";
import { CommandError } from "./errors.ts";
import { toCommandError } from "./failures.ts";

Deno.test("a device that is lost is said without a stack, with what to do", () => {
  const error = toCommandError(new DeviceLostError("matmul: the GPU device was lost (reset)"));
  assert(error instanceof CommandError);
  assertMatch(error.message, /^matmul: .*\(reset\); start the command again, .*--resume latest$/);
});

diskTest(
  "what the system refuses is shown without a stack, a name too long too",
  async (folder) => {
    const refused = async (task: Promise<unknown>) => {
      const error = toCommandError(await task.then(() => null, (error) => error));
      assert(error instanceof CommandError, String(error));
    };
    await refused(Deno.stat(`${folder}/${"long".repeat(100)}`));
    await refused(Deno.mkdir(`${folder}/${"long".repeat(100)}`));
    await refused(Deno.stat(`${folder}/nothing`));
    const quota = Object.assign(new Error("Disk quota exceeded (os error 122)"), {
      code: "EDQUOT",
    });
    await refused(Promise.reject(quota));
    const bugs = [new TypeError("x is undefined"), Object.assign(new Error(), { code: "ERR_X" })];
    for (const bug of bugs) assertEquals(toCommandError(bug), bug);
  },
);
