import { assert, assertEquals } from "@std/assert";
import { FAST_TIER_FLAGS } from "../tensor/wasm/device/tier.ts";
import { COMMANDS } from "./commands.ts";
import { FAST_TIER } from "./launch.ts";

const read = (path: string) => Deno.readTextFileSync(new URL(`../${path}`, import.meta.url));

/** What `deno.json` says of a task. */
interface Task {
  readonly description: string;
  readonly command: string;
  readonly dependencies: readonly string[];
}

const { tasks } = JSON.parse(read("deno.json")) as { tasks: Record<string, Task> };

Deno.test("deno.json has a task for every command, with what the list of commands says", () => {
  for (const [name, { description }] of Object.entries(COMMANDS)) {
    assertEquals(tasks[name], {
      description,
      command: `deno run -q --allow-run --allow-env cli/launch.ts ${name}`,
      dependencies: ["std"],
    });
  }
  const launched = Object.values(tasks).filter(({ command }) => command.includes("cli/launch.ts"));
  assertEquals(launched.length, Object.keys(COMMANDS).length);
});

Deno.test("every command has a module that runs it", () => {
  for (const { module } of Object.values(COMMANDS)) {
    assert(read(`cli/${module}`).includes("export async function run("), module);
  }
});

Deno.test("the flags of the fast tier are the same wherever they are given", () => {
  assertEquals(FAST_TIER, FAST_TIER_FLAGS);
  for (const file of ["README.md", ".ci/run"]) {
    const given = [...read(file).matchAll(/--experimental-wasm-revectorize\S*/g)].flat();
    assertEquals(given, [FAST_TIER], file);
  }
});
