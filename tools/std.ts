/**
 * Lets `@std/*` be found where JSR is not.
 *
 * `deno.json` names the packages on JSR. Where that cannot be reached and they are not cached, this
 * writes `.std`, a folder of packages that re-export the stand-ins of `tools/std` and that `links` in
 * `deno.json` prefers; everywhere else it takes the folder away. (Not a symbolic link: making one
 * takes the permission to read and write everywhere, and on Windows special rights.)
 *
 *     deno task std
 */

/** How long JSR may take to answer before the stand-ins are linked, in milliseconds. */
const PATIENCE = 3000;

const root = new URL("../", import.meta.url);
const standIns = new URL("tools/std/", root);
const links = new URL(".std/", root);
const { imports } = JSON.parse(await Deno.readTextFile(new URL("deno.json", root))) as {
  imports: Record<string, string>;
};

const packages = Object.values(imports).filter((specifier) => specifier.startsWith("jsr:"));
const reachable = await Promise.race([
  Promise.all(packages.map((specifier) => import(specifier))).then(() => true, () => false),
  new Promise<boolean>((resolve) => setTimeout(resolve, PATIENCE, false)),
]);

if (reachable) {
  await Deno.remove(links, { recursive: true }).catch(unlessMissing);
} else {
  for await (const { name } of Deno.readDir(standIns)) {
    await Deno.mkdir(new URL(name, links), { recursive: true });
    const config = await Deno.readTextFile(new URL(`${name}/deno.json`, standIns));
    await write(`${name}/deno.json`, config);
    const { exports } = JSON.parse(config) as { exports: string | Record<string, string> };
    for (const path of typeof exports === "string" ? [exports] : Object.values(exports)) {
      const target = new URL(path, new URL(`tools/std/${name}/`, "file:///")).pathname;
      await write(`${name}/${path}`, `export * from "../..${target}";\n`);
    }
  }
}
// An import that is still waiting for JSR would keep the process alive.
Deno.exit();

/**
 * Writes a file of `.std`, unless it holds that already. Other tasks may be reading it or writing
 * it as well, such as those of `mpirun -n 4 deno task train`: each sees it whole or not at all.
 */
async function write(path: string, text: string): Promise<void> {
  const file = new URL(path, links);
  const before = await Deno.readTextFile(file).catch(unlessMissing);
  if (before === text) return;
  const unfinished = new URL(`${path}.${crypto.randomUUID()}`, links);
  await Deno.writeTextFile(unfinished, text);
  await Deno.rename(unfinished, file);
}

function unlessMissing(error: unknown): undefined {
  if (!(error instanceof Deno.errors.NotFound)) throw error;
}
