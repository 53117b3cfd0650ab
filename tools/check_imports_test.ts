import { assertEquals } from "@std/assert";
import { checkImports, LAYERS } from "./check_imports.ts";

/** What the check says about a tree that holds every `mod.ts` and these files. */
function check(files: Record<string, string>): string[] {
  const tree = new Map(Object.keys(LAYERS).map((folder) => [`${folder}/mod.ts`, "export {};\n"]));
  for (const [file, text] of Object.entries(files)) tree.set(file, text);
  return checkImports(tree).map(({ file, line, message }) => `${file}:${line}: ${message}`);
}

Deno.test("checkImports() accepts imports that point downwards", () => {
  assertEquals(
    check({
      "mod.ts":
        `/** The library. */\nexport * from "./tensor/mod.ts";\nexport * as nn from "./nn/mod.ts";\n`,
      "tensor/shape.ts": `export const x = 1;\n`,
      "tensor/mod.ts": `// Shapes.\nexport {\n  type Shape,\n  x,\n} from "./shape.ts";\n`,
      "nn/linear.ts":
        `import { x } from "../tensor/mod.ts";\nimport type { Tape } from "../autograd/mod.ts";\n`,
      "data/loader.ts":
        `import { x } from "@dit/core/tensor";\nimport { join } from "@std/path";\n`,
      "cli/main.ts": `import { load } from "@dit/data";\nimport sharp from "npm:sharp@0.34.1";\n`,
      "tests/all_test.ts": `import { x } from "../tensor/shape.ts";\nimport "../cli/main.ts";\n`,
    }),
    [],
  );
});

Deno.test("checkImports() refuses imports that point upwards or sideways", () => {
  assertEquals(
    check({
      "tensor/a.ts": `// first line\nimport type { Tape } from "../autograd/mod.ts";\n`,
      "dit/a.ts": `import { x } from "../vae/mod.ts";\n`,
      "io/a.ts": `const x = await import("../nn/mod.ts");\n`,
      "data/a.ts": `import "@dit/cli";\n`,
      "mod.ts": `export * from "./data/mod.ts";\n`,
    }),
    [
      "tensor/a.ts:2: imports autograd/mod.ts: tensor may import from no other folder",
      "dit/a.ts:1: imports vae/mod.ts: dit may import only from tensor, autograd, nn",
      "io/a.ts:1: imports nn/mod.ts: io may import only from tensor",
      "data/a.ts:1: imports cli/mod.ts: data may import only from " +
      "tensor, autograd, nn, dit, diffusion, vae, io, pipeline",
      `mod.ts:1: imports data/mod.ts: another package is imported by name, as "@dit/data"`,
    ],
  );
});

Deno.test("checkImports() refuses imports of a folder's files past its mod.ts", () => {
  assertEquals(
    check({
      "tensor/shape.ts": "export const x = 1;\n",
      "nn/a.ts": `import {\n  x,\n} from "../tensor/shape.ts";\n`,
      "nn/b.ts": `import { x } from "../mod.ts";\n`,
      "mod.ts": "export {};\n",
      "data/a.ts": `import { x } from "../tensor/mod.ts";\n`,
      "nn/helper_test.ts": "export const x = 1;\n",
      "vae/a.ts": `import { x } from "../nn/helper_test.ts";\n`,
    }),
    [
      "nn/a.ts:1: imports tensor/shape.ts: import tensor/ through tensor/mod.ts",
      "nn/b.ts:1: imports mod.ts: the folders of the library import each other, not its mod.ts",
      `data/a.ts:1: imports tensor/mod.ts: another package is imported by name, ` +
      `as "@dit/core/tensor"`,
      "vae/a.ts:1: imports nn/helper_test.ts, which is not part of the library",
    ],
  );
});

Deno.test("checkImports() refuses dependencies of the library and files that are missing", () => {
  assertEquals(
    check({
      "tensor/a.ts": `import { join } from "@std/path";\nimport "./gone.ts";\n`,
      "io/a.ts": `import { openSync } from "node:fs";\n`,
      "tests/a_test.ts": `import "../tensor/gone.ts";\n`,
      "attic/a.ts": "",
    }),
    [
      `tensor/a.ts:1: imports "@std/path": @dit/core has no dependencies`,
      "tensor/a.ts:2: imports tensor/gone.ts, which does not exist",
      `io/a.ts:1: imports "node:fs": @dit/core loads in browsers too, which have no such module`,
      "tests/a_test.ts:1: imports tensor/gone.ts, which does not exist",
      "attic/a.ts:1: attic/ is no folder that LAYERS or DEVELOPMENT lists",
    ],
  );
});

Deno.test("checkImports() finds cycles, those that types close included", () => {
  assertEquals(
    check({
      "tensor/a.ts": `import { b } from "./b.ts";\n`,
      "tensor/b.ts": `\nimport { c } from "./c.ts";\n`,
      "tensor/c.ts": `import { a } from "./a.ts";\n`,
      "nn/a.ts": `import { b } from "./b.ts";\n`,
      "nn/b.ts": `import type { A } from "./a.ts";\n`,
    }),
    [
      "tensor/a.ts:1: import cycle: tensor/a.ts -> tensor/b.ts -> tensor/c.ts -> tensor/a.ts",
      "nn/a.ts:1: import cycle: nn/a.ts -> nn/b.ts -> nn/a.ts",
    ],
  );
});

Deno.test("checkImports() refuses code in a mod.ts", () => {
  assertEquals(
    check({
      "nn/mod.ts": `export { x } from "./x.ts";\n\nexport const y = 1;\n`,
      "nn/x.ts": `/**\n * import { no } from "nowhere";\n */\nexport const x = 1;\n`,
    }),
    ["nn/mod.ts:3: a mod.ts holds re-exports only"],
  );
});
