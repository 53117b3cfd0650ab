/** What the README shows is run, as a reader would. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { command, commandTest } from "./commands.ts";
import { granted, tempDir } from "./fixtures.ts";
import { readmeCommands } from "./readme.ts";

const allowed = granted({ name: "run", command: "deno" }) && granted({ name: "read" });
const root = new URL("../", import.meta.url);

/** The TypeScript examples of the README, in order. */
async function examples(): Promise<string[]> {
  const text = await Deno.readTextFile(new URL("README.md", root));
  return Array.from(text.matchAll(/^```ts\n(.*?)^```$/gms), ([, code]) => code!);
}

/** Runs a program with the rights the README gives it; what it printed. */
async function run(code: string): Promise<string> {
  await using folder = await tempDir();
  const file = `${folder.path}/example.ts`;
  await Deno.writeTextFile(file, code.replaceAll("jsr:@dit/core", "@dit/core"));
  const { success, stdout, stderr } = await new Deno.Command("deno", {
    args: ["run", "--no-prompt", file],
    cwd: root,
    env: { NO_COLOR: "1" },
  }).output();
  const text = new TextDecoder();
  assert(success, text.decode(stderr));
  return text.decode(stdout);
}

Deno.test({
  name: "the first example of the README learns exclusive or",
  ignore: !allowed,
  fn: async () => {
    const [first] = await examples();
    const lines = (await run(first!)).trim().split("\n");
    assertEquals(lines.length, 3);
    assert(Number(lines.at(-1)!.split(" ")[1]) < 1e-3, lines.join("\n"));
  },
});

Deno.test({
  name: "the second example of the README draws what it was trained on",
  ignore: !allowed,
  fn: async () => {
    const [, second] = await examples();
    const numbers = (await run(second!)).trim().split("\n").map((line) =>
      line.split(": ")[1]!.split(" ").map(Number)
    );
    const expected = [[1, -1], [-1, 1]];
    numbers.flat().forEach((v, i) => assert(Math.abs(v - expected.flat()[i]!) < 0.3, `${numbers}`));
  },
});

commandTest("every flag of the README's commands is one that the command has", async (folder) => {
  const { tasks } = JSON.parse(await Deno.readTextFile(new URL("deno.json", root)));
  const processes = await readmeCommands(undefined, "docs/distributed.md");
  assert(processes.length >= 6, "expected commands of several processes");
  const shown = [...await readmeCommands(), ...processes];
  const flagsOf = new Map<string, string>();
  for (const { task, args } of shown) {
    assert(task in tasks, `deno.json has no task ${task}`);
    const flags = args.filter((arg) => arg.startsWith("--"));
    if (flags.length === 0 || task === "bench") continue;
    if (!flagsOf.has(task)) flagsOf.set(task, (await command(task, ["--help"], folder)).out);
    const help = flagsOf.get(task)!;
    for (const flag of flags) assert(help.includes(`${flag} `), `deno task ${task} has no ${flag}`);
  }
  assert(flagsOf.size >= 4, "expected commands with flags in the README");
});

Deno.test({
  name:
    "the second example of commands goes from pictures to pictures, for `deno task bench emoji-3d`",
  ignore: !allowed,
  fn: async () => {
    const shown = await readmeCommands("Pictures in colour");
    const tasks = shown.map(({ task }) => task);
    assertEquals(tasks, ["download", "train-vae", "extract-features", "train", "sample"]);
    assertEquals(shown[1]!.args, ["--data", "emoji-3d"]);
    await assertRejects(() => readmeCommands("Nowhere"), Error, 'expected a section "Nowhere"');
  },
});
