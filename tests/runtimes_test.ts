/** The library in Node and in Bun: one module, as the README makes it, on WebAssembly. */
import { assert, assertEquals } from "@std/assert";
import { bundleModule } from "@dit/web";
import { workload } from "./browser/workload.ts";
import { scaledError } from "./devices.ts";
import { granted, tempDir, unreadable } from "./fixtures.ts";
import { packagesMissing } from "./npm.ts";

/** As npm has them, so that tests run on these whatever a machine has. */
const RUNTIMES = { Node: "node@24.21.0", Bun: "bun@1.4.5" } as const;

const root = new URL("../", import.meta.url);

/** What runs in Node and Bun. */
const MAIN = `
import './xor.js';
import { workload } from './workload.js';
import { init, loadSafetensors, saveSafetensors, tensor } from './core.js';
const folder = process.argv[2];
const { description, numbers } = await workload({ device: "wasm", wasm: { tier: "safe" } });
await init({ device: "wasm" });
const path = folder + "/x.safetensors";
await saveSafetensors(path, new Map([["x", tensor([1, 2, 3], [3])]]));
const x = (await loadSafetensors(path)).get("x");
const missing = await loadSafetensors(folder + "/none").catch((error) => error.code);
console.log(JSON.stringify({ description, numbers, x: [...new Float32Array(x.data.buffer)], missing }));
`;

/** What a program printed; undefined where its runtime cannot be had. */
type Printed = Readonly<Record<keyof typeof RUNTIMES, string | undefined>>;

/** Why nothing is tried here. */
const blocked = unreadable ??
  (granted({ name: "run", command: "npx" }) ? undefined : "needs npx, and --allow-run=npx") ??
  await packagesMissing("npm:esbuild-wasm@0.28.2");

const printed: Printed | undefined = blocked ? undefined : await runAll();

/** Runs the README's first example, then the workload, then files, in every runtime at once. */
async function runAll(): Promise<Printed> {
  await using folder = await tempDir();
  const write = (name: string, text: string | Uint8Array<ArrayBuffer>) =>
    typeof text === "string"
      ? Deno.writeTextFile(`${folder.path}/${name}`, text)
      : Deno.writeFile(`${folder.path}/${name}`, text);
  const readme = await Deno.readTextFile(new URL("README.md", root));
  const made = /^deno bundle (?<flags>.*) -o core\.js mod\.ts$/m.exec(readme)?.groups;
  assert(made, "the README makes no core.js");
  const bundling = await new Deno.Command("deno", {
    args: ["bundle", "-q", ...made["flags"]!.split(" "), "-o", `${folder.path}/core.js`, "mod.ts"],
    cwd: root,
  }).output();
  assert(bundling.success, new TextDecoder().decode(bundling.stderr));
  const [, example] = /^```ts\n(.*?)^```$/ms.exec(readme)!;
  await write("package.json", `{"type": "module"}`);
  await write("xor.js", example!.replace("jsr:@dit/core", "./core.js"));
  await write("workload.js", await bundleModule(new URL("browser/workload.ts", import.meta.url)));
  await write("main.js", MAIN);
  const entries = Object.entries(RUNTIMES).map(async ([name, command]) => {
    const folderOf = `${folder.path}/${name}`;
    await Deno.mkdir(folderOf);
    const { success, stdout, stderr } = await new Deno.Command("npx", {
      args: ["-y", command, `${folder.path}/main.js`, folderOf],
      cwd: folder.path,
    }).output();
    const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
    if (!success && /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|E404/.test(err!)) return [name];
    assert(success, `${name}: ${err}`);
    return [name, out];
  });
  return Object.fromEntries(await Promise.all(entries));
}

for (const name of ["Node", "Bun"] as const) {
  const missing = blocked ?? (printed?.[name] === undefined ? `no ${RUNTIMES[name]}` : undefined);
  Deno.test({
    name: `${name} runs the README's example, and computes what Deno does${
      missing ? ` (${missing})` : ""
    }`,
    ignore: missing !== undefined,
    // the device keeps its threads
    sanitizeOps: false,
    sanitizeResources: false,
    fn: async () => {
      const lines = printed![name]!.trim().split("\n");
      assertEquals(lines.length, 4, printed![name]);
      assert(Number(lines[2]!.split(" ")[1]) < 1e-3, lines.join("\n"));
      const { description, numbers, x, missing } = JSON.parse(lines[3]!);
      const { hardwareConcurrency: cores } = navigator;
      const threads = `${cores} thread${cores === 1 ? "" : "s"}`;
      assertEquals(description, `WebAssembly, 128-bit SIMD, ${threads}`);
      const here = await workload({ device: "wasm", wasm: { tier: "safe" } });
      // Bun's engine, which is Safari's, rounds a product before it adds to it.
      if (name === "Bun") assert(scaledError(numbers, here.numbers) < 1e-5);
      else assertEquals(numbers, here.numbers);
      assertEquals([x, missing], [[1, 2, 3], "ENOENT"]);
    },
  });
}
