/** `mpirun -n N deno task extract-features` from end to end. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { saveSafetensors } from "@dit/core/io";
import { vaeConfigOf } from "@dit/core/vae";
import { loadManifest } from "@dit/data";
import { command, type Ended, SMALL_VAE, smallVaeWeights, words } from "./commands.ts";
import { noWebGpu } from "./devices.ts";
import { ended, launched, mpiTest, runRanks, script, startRanks } from "./mpi.ts";
import { writePictures } from "./pictures.ts";

const USUAL = words("--data pictures --vae vae --image-size 32 --num-workers 1 --device wasm");

/** Pictures in two classes, and a small autoencoder. */
async function prepare(folder: string, count: number): Promise<void> {
  await writePictures(`${folder}/pictures`, ["discs", "spots"], count);
  await Deno.mkdir(`${folder}/vae`);
  const config = JSON.stringify(vaeConfigOf(SMALL_VAE));
  await Deno.writeTextFile(`${folder}/vae/config.json`, config);
  const weights = await smallVaeWeights();
  await saveSafetensors(`${folder}/vae/diffusion_pytorch_model.safetensors`, weights);
}

/** Every file below a folder, with its content in hexadecimal. */
async function contentOf(folder: string): Promise<Record<string, string>> {
  const entries = (await Array.fromAsync(Deno.readDir(folder)))
    .sort((a, b) => a.name < b.name ? -1 : 1);
  const all: Record<string, string> = {};
  for (const { name, isDirectory } of entries) {
    const path = `${folder}/${name}`;
    const its = isDirectory ? await contentOf(path) : { "": (await Deno.readFile(path)).toHex() };
    for (const [below, text] of Object.entries(its)) all[`${name}/${below}`] = text;
  }
  return all;
}

async function assertSame(folder: string, a: string, b: string): Promise<void> {
  assertEquals(await contentOf(`${folder}/${a}`), await contentOf(`${folder}/${b}`));
}

function assertDone({ code, out, err }: Ended): void {
  assertEquals(code, 0, out + err);
}

mpiTest(
  "ranks leave the shards of one process, and what they found is told once",
  async (mpi, folder) => {
    await prepare(folder, 10);
    // damaged, each in the shard of another rank
    for (const name of ["discs/003", "spots/004"]) {
      await Deno.writeTextFile(`${folder}/pictures/${name}.png`, "no picture");
    }
    const args = [...USUAL, ...words("--shard-size 3 --batch-size 2")];
    assertDone(await command("extract-features", [...args, "--out", "one"], folder));
    for (const ranks of [2, 4]) {
      const out = `of${ranks}`;
      // on this device, batches of any size give the same bits
      const size = ["--batch-size", String(ranks)];
      const run = launched("extract-features", ...args, ...size, "--out", out);
      const done = await runRanks(mpi, ranks, run, { cwd: folder });
      assertDone(done);
      await assertSame(folder, "one", out);
      assertMatch(
        done.out,
        new RegExp(`^ranks +${ranks} ranks on 1 machine, MPI \\(${mpi.name}`, "m"),
      );
      assertStringIncludes(done.out, "damaged  2 of 20 images left out");
      assertEquals(done.out.match(/^written +of\d: 18 latents; .* images\/s/gm)?.length, 1);
      assertEquals(done.err.match(/left out/g)?.length, 2);
    }
    // nothing is left to do, also for one process
    const again = await command("extract-features", [...args, "--out", "of4"], folder);
    assertDone(again);
    assertStringIncludes(again.out, "nothing was left to do");
    await assertSame(folder, "one", "of4");
  },
);

mpiTest("the share of a rank that was killed is done at the next start", async (mpi, folder) => {
  await prepare(folder, 20);
  const args = [...USUAL, ...words("--shard-size 1 --batch-size 1 --no-flips")];
  assertDone(await command("extract-features", [...args, "--out", "one"], folder));
  const run = launched("extract-features", ...args);
  const file = `${folder}/features/manifest-1-of-2.json`;
  const lost = script("lost_rank.ts", file, "deno", ...run);
  const killed = await ended(startRanks(mpi, [[1, run], [1, lost]], { cwd: folder }));
  assert(killed.code !== 0, killed.out + killed.err);
  const { shards } = (await loadManifest(`${folder}/features`))!;
  assert(shards.some(({ number }) => number % 2 === 1), "expected a shard of rank 1");
  assert(shards.length < 40, "expected that some are left to do");
  const written = () =>
    Promise.all(shards.map(async ({ file }) => {
      const { ino, mtime } = await Deno.stat(`${folder}/features/${file}`);
      return { ino, mtime };
    }));
  const before = await written();
  // by any number of processes
  assertDone(
    mpi.name === "MPICH"
      ? await command("extract-features", args, folder)
      : await runRanks(mpi, 3, run, { cwd: folder }),
  );
  await assertSame(folder, "one", "features");
  assertEquals(await written(), before);
});

const devices = noWebGpu ? "wasm" : "wasm and webgpu";

mpiTest(
  `the original's layout is shared by batches [${devices}${noWebGpu ? `; ${noWebGpu}` : ""}]`,
  async (mpi, folder) => {
    await prepare(folder, 5);
    const npy = [...USUAL, ...words("--layout npy --batch-size 2")];
    for (const device of devices.split(" and ")) {
      const args = [...npy, "--device", device];
      const [one, two] = [`${device}-1`, `${device}-2`];
      assertDone(await command("extract-features", [...args, "--out", one], folder));
      // a batch of which one image is there already
      await Deno.mkdir(`${folder}/${two}`);
      await Deno.copyFile(`${folder}/${one}/features.json`, `${folder}/${two}/features.json`);
      for (const kind of ["features", "labels"]) {
        const name = `imagenet32_${kind}`;
        await Deno.mkdir(`${folder}/${two}/${name}`);
        await Deno.copyFile(`${folder}/${one}/${name}/3.npy`, `${folder}/${two}/${name}/3.npy`);
      }
      const run = launched("extract-features", ...args, "--out", two);
      const done = await runRanks(mpi, 2, run, { cwd: folder });
      assertDone(done);
      assertStringIncludes(done.err, "1 images are done already");
      await assertSame(folder, one, two);
    }
  },
);

mpiTest("what ranks do not agree on is refused", async (mpi, folder) => {
  await prepare(folder, 2);
  const run = launched("extract-features", ...USUAL, "--world", "2");
  const refused = await runRanks(mpi, 2, run, { cwd: folder });
  assert(refused.code !== 0);
  assertStringIncludes(refused.err, "--world: expected it without MPI");
});
