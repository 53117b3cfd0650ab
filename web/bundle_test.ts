import { assert, assertEquals, assertRejects } from "@std/assert";
import { diskTest } from "../tests/fixtures.ts";
import { packagesMissing, testUnless } from "../tests/npm.ts";
import { bundleModule } from "./bundle.ts";

const missing = await packagesMissing("npm:esbuild-wasm@0.28.2");
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

testUnless(missing, diskTest, "a bundle is one module for older browsers too", async (folder) => {
  const entry = new URL(`file://${folder}/entry.ts`);
  await Deno.writeTextFile(`${folder}/part.ts`, "export const half: number = 21;\n");
  await Deno.writeTextFile(
    entry,
    `const { half } = await import('./part.ts');
    /** Doubles. */
    export const double = (value: number): number => {
      using _ = { [Symbol.dispose]() { globalThis.freed = true; } };
      return 2 * value;
    };
    export const answer = double(half);`,
  );
  const draft = text(await bundleModule(entry, { draft: true }));
  const code = text(await bundleModule(entry));
  assert(/\busing _ =/.test(draft), draft);
  assert(!/\busing\b|\bDoubles\b|^import|import\(/.test(code), code);
  const made = await import(`data:text/javascript,${encodeURIComponent(code)}`);
  assertEquals(made.answer, 42);
  assertEquals((globalThis as { freed?: boolean }).freed, true);

  await Deno.writeTextFile(entry, 'import "./nowhere.ts";');
  await assertRejects(() => bundleModule(entry), Error, "nowhere.ts");
});
