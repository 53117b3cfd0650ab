/** `deno task build-page`: its files, and what they do in a browser without any server of ours. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { SafetensorsFile, saveSafetensors } from "@dit/core/io";
import { ImageSampler } from "@dit/core/pipeline";
import { init } from "@dit/core/tensor";
import { bundleModule, samplePictures } from "@dit/web";
import { browserMissing, openBrowser, type Served, serveFiles } from "./browser.ts";
import type { Drawn, Trained } from "./browser/static_page.ts";
import { vaeConfigOf } from "@dit/core/vae";
import {
  command,
  commandLines,
  commandTest,
  SMALL_VAE,
  smallLatents,
  smallVaeWeights,
  writeRun,
} from "./commands.ts";
import { filesOf } from "./files_of.ts";
import { packagesMissing, testUnless } from "./npm.ts";
import { writeTinyDigits } from "./tiny_digits.ts";

const noBundler = await packagesMissing("npm:esbuild-wasm@0.28.2");

const REQUEST = {
  pictures: [{ label: 3, seed: 5 }],
  sampler: "dpm++",
  steps: 5,
  eta: 0,
  guidance: 2,
  interval: null,
};

/** The same picture, drawn here. */
async function drawHere(weights: Uint8Array): Promise<number[]> {
  await init({ device: "wasm", wasm: { tier: "safe" } });
  using sampler = await ImageSampler.fromCheckpoint(await SafetensorsFile.open(weights));
  const [picture] = await samplePictures(sampler, { ...REQUEST, model: "demo" }, {
    signal: { aborted: false },
    onStep() {},
  });
  return [...picture!.rgba];
}

testUnless(
  noBundler,
  commandTest,
  "build-page writes a page that draws and trains",
  async (folder) => {
    await writeTinyDigits(`${folder}/digits`, 200);
    const built = await command("build-page", ["my site", "--data", "digits"], folder);
    assertEquals(built.code, 0, built.err);
    assertStringIncludes(built.out, 'npx -y serve "my site"');
    assertStringIncludes(built.out, "on digits: 200 images of 1x32x32 in 10 classes");
    const files = await filesOf(`${folder}/my site`);
    for (const name of ["index.html", "page.js", "worker.js", "models/demo/weights.safetensors"]) {
      assert(files.has(name), `there is no ${name}`);
    }
    // no other host, no path of this machine
    for (const [name, file] of files) {
      if (!/\.(html|js|json|css)$/.test(name)) continue;
      const text = new TextDecoder().decode(file as Uint8Array);
      assert(!text.includes(folder), `${name} names a folder of this machine`);
      assert(!/(src|href|import)\s*[=(]?\s*["']https?:/.test(text), `${name} loads from elsewhere`);
    }

    if (browserMissing === undefined) await tryInBrowser(files);

    // what it was trained on is not published any longer when it is built without
    const again = await command("build-page", ["my site", "--data", "none"], folder);
    assertEquals(again.code, 0, again.err);
    const left = await filesOf(`${folder}/my site`);
    assertEquals([...left.keys()].filter((name) => name.startsWith("training")), [
      "training_worker.js",
    ]);
  },
);

async function tryInBrowser(files: Map<string, Served>): Promise<void> {
  const calls = await bundleModule(new URL("browser/static_page.ts", import.meta.url), {
    draft: true,
  });
  const site = new Map([...files, ["calls.js", calls] as const]);
  await using server = serveFiles(
    new Map(Array.from(site, ([name, file]) => [`some/where/${name}`, file])),
  );
  await using browser = await openBrowser();
  const page = await browser.open(`${server.url}some/where/`);
  await page.page.waitForSelector("html[data-ready]");
  page.check();
  const call = async <T>(name: string, ...args: unknown[]): Promise<T> => {
    const given = args.map((arg) => JSON.stringify(arg)).join(", ");
    return await page.page.evaluate(`import('./calls.js').then((m) => m.${name}(${given}))`) as T;
  };

  const expected = await drawHere(files.get("models/demo/weights.safetensors") as Uint8Array);
  const byWasm = await call<Drawn>("draw", "wasm", REQUEST);
  assertStringIncludes(byWasm.device, "WebAssembly, 128-bit SIMD, 1 thread");
  assertEquals(byWasm.rgba, expected);
  const byGpu = await call<Drawn>("draw", "webgpu", REQUEST);
  assertStringIncludes(byGpu.device, "WebGPU");
  const off = byGpu.rgba.map((level, i) => Math.abs(level - expected[i]!));
  assert(Math.max(...off) <= 2, `off by ${Math.max(...off)}`);

  const training = { steps: 10, batchSize: 8, learningRate: 1e-3, seed: 0, sampleEvery: 10 };
  const trained = await call<Trained>("train", "wasm", training, REQUEST);
  assertEquals(trained.losses.length, 10);
  assertEquals(trained.samples, 1);
  const mean = (losses: readonly number[]) => losses.reduce((a, b) => a + b) / losses.length;
  const { losses } = trained;
  assert(mean(losses.slice(-3)) < 0.8 * mean(losses.slice(0, 3)), losses.join(" "));
  assertEquals(trained.drawn.width, 32);
  page.check();
  assert(server.requests.every((path) => path.startsWith("some/where/") || path === "favicon.ico"));
}

commandTest(
  "build-page refuses what makes no page, and writes over nothing else",
  async (folder) => {
    await writeTinyDigits(`${folder}/digits`, 10);
    await Deno.writeTextFile(`${folder}/notes.txt`, "mine");
    await Deno.mkdir(`${folder}/none`);
    await Deno.mkdir(`${folder}/other/models`, { recursive: true });
    await Deno.writeTextFile(`${folder}/other/site.json`, '{"title":"mine"}');
    await Deno.mkdir(`${folder}/page`);
    await Deno.writeTextFile(`${folder}/page/site.json`, '{"hasServer":false}');
    const inside = await writeRun(`${folder}/page/models`, "inside", 1);
    const latents = await writeRun(folder, "latents", 1, smallLatents({}, "gone.safetensors"));
    const vae = `${folder}/vae.safetensors`;
    await saveSafetensors(vae, await smallVaeWeights(), [[
      "config",
      JSON.stringify(vaeConfigOf(SMALL_VAE)),
    ]]);
    const made = smallLatents({}, "vae.safetensors");
    const retrained = await writeRun(folder, "retrained", 1, {
      ...made,
      latents: { ...made.latents!, vaeSha256: "0".repeat(64) },
    });
    const wide = await writeRun(folder, "wide", 1, smallLatents({ inChannels: 8 }, "gone"));
    const lines = [
      [["build-page"], "expected one folder to write to"],
      [["build-page", "a", "b"], "expected one folder to write to"],
      [["build-page", "digits"], "digits: expected a new folder, an empty one or one that this"],
      [["build-page", "other"], "other: expected a new folder, an empty one or one that this"],
      [["build-page", "notes.txt"], "notes.txt: expected a folder to write to but a file is there"],
      [["build-page", "site", "--ckpt", "gone.safetensors"], "gone.safetensors"],
      [
        ["build-page", "site", "--ckpt", latents],
        "its autoencoder is not here; name it with --vae",
      ],
      [
        ["build-page", "site", "--ckpt", retrained],
        "but its weights are others; name the right one",
      ],
      [["build-page", "site", "--ckpt", wide, "--vae", vae], "an autoencoder of 8 latent channels"],
      [["build-page", "site", "--weights", "model"], "expected weights model but it has ema"],
      [["build-page", "page", "--ckpt", inside], "expected weights outside of page, which is"],
      [["build-page", "site", "--data", "gone"], "gone"],
      [["build-page", "site", "--steps", "7"], "unknown flag --steps"],
    ] as const;
    const ended = await commandLines(lines.map(([line]) => line), folder);
    ended.forEach(({ code, err }, i) => {
      const [line, message] = lines[i]!;
      assert(code === 1 || code === 2, `${line.join(" ")}: ${code}`);
      assertStringIncludes(err, message);
    });
    assertEquals(await Deno.readTextFile(`${folder}/notes.txt`), "mine");
    assert((await Deno.stat(inside)).isFile);
    assertEquals([...Deno.readDirSync(`${folder}/digits`)].length, 2);
  },
);
