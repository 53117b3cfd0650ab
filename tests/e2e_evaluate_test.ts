/** `deno task evaluate` from end to end, with an Inception of random weights. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { hostTensor, lazyStateDict, NpzFile, NpzWriter, saveNpz, saveTorch } from "@dit/core/io";
import { init } from "@dit/core/tensor";
import { encodePng } from "@dit/data";
import { command, commandLines, commandTest, type Ended } from "./commands.ts";
import { drawnInception } from "./inception_weights.ts";

const SIZE = 24;

/** Images of coloured stripes and noise, [count, SIZE, SIZE, 3]. */
function images(count: number, phase: number, side = SIZE): Uint8Array<ArrayBuffer> {
  let state = phase + 1;
  return Uint8Array.from({ length: count * side * side * 3 }, (_, i) => {
    state = (state * 1664525 + 1013904223) >>> 0;
    const n = Math.floor(i / (side * side * 3));
    return (128 + 90 * Math.sin(i * 0.02 * (n + 1) + phase) + (state >>> 27)) & 255;
  });
}

/** Writes an archive of images, with texts. */
async function archive(
  path: string,
  pixels: Uint8Array,
  size: readonly number[],
  labels: readonly number[] | null = null,
  texts: Record<string, string> = {},
): Promise<void> {
  await using npz = await NpzWriter.create(path);
  const rows = npz.begin("arr_0", "u8", size);
  await rows.write(pixels);
  await rows.end();
  if (labels) {
    const classes = npz.begin("arr_1", "i64", []);
    await classes.write(hostTensor(BigInt64Array.from(labels, BigInt)).data);
    await classes.end();
  }
  for (const [key, text] of Object.entries(texts)) await npz.text(key, text);
  await npz.finish();
}

interface Result {
  fid: number | null;
  sfid: number | null;
  inceptionScore: number | null;
  precision: number | null;
  recall: number | null;
  kid: number | null;
  samples: number;
  madeBy: unknown;
}

/** The object of a run that went well. */
function resultOf({ code, out, err }: Ended): Result {
  assertEquals(code, 0, out + err);
  assertEquals(out.trim().split("\n").length, 1, out);
  return JSON.parse(out);
}

commandTest(
  "evaluate compares samples with every kind of reference, and says what it lacks",
  async (folder) => {
    await init({ device: "wasm" });
    await saveTorch(`${folder}/w.pth`, lazyStateDict(drawnInception(3)));
    const size = [SIZE, SIZE, 3];
    const madeBy = JSON.stringify({ model: "DiT-S/4", seed: 3 });
    await archive(`${folder}/s.npz`, images(5, 0), size, [0, 0, 1, 1, 1], { made_by: madeBy });
    await archive(`${folder}/r.npz`, images(6, 1), size, [0, 1, 2, 0, 1, 2]);
    const usual = ["--weights", "w.pth", "--device", "wasm"];
    const first = await command("evaluate", ["s.npz", "r.npz", "--json", ...usual], folder);
    const result = resultOf(first);
    assertEquals(Object.keys(result).sort(), [
      "fid",
      "inceptionScore",
      "kid",
      "madeBy",
      "precision",
      "recall",
      "samples",
      "sfid",
    ]);
    assertEquals([result.samples, result.madeBy], [5, { model: "DiT-S/4", seed: 3 }]);
    assert(result.fid! > 0 && result.sfid! > 0 && result.inceptionScore! >= 1, first.out);
    assertStringIncludes(first.err, "WARNING: 5 samples are too few for FID and sFID");
    assertStringIncludes(first.err, "no samples of 1 of 3 classes that the reference has: 2;");

    // the features that are kept of the reference are a reference themselves
    const kept: string[] = [];
    for await (const { name } of Deno.readDir(`${folder}/evaluation`)) {
      kept.push(
        `evaluation/${name}`,
      );
    }
    assertEquals(kept.length, 2);
    const counts = new Map<string, number>();
    for (const path of kept) {
      using npz = await NpzFile.open(`${folder}/${path}`);
      counts.set(path, npz.info("pool").shape[0]!);
      assertEquals(npz.info("sigma").shape, [2048, 2048]);
      assertEquals(npz.info("mu_s").shape, [2023]);
    }
    const ofReference = kept.find((path) => counts.get(path) === 6)!;
    // statistics alone, as the ADM suite's references have them
    using npz = await NpzFile.open(`${folder}/${ofReference}`);
    const statistics = new Map<string, Awaited<ReturnType<NpzFile["read"]>>>();
    for (const key of ["mu", "sigma", "mu_s", "sigma_s"]) statistics.set(key, await npz.read(key));
    await saveNpz(`${folder}/adm.npz`, statistics);

    // a folder, whose images are the same; and for people
    await Deno.mkdir(`${folder}/real`);
    const all = images(6, 1);
    for (let i = 0; i < 6; i++) {
      const pixels = all.slice(i * SIZE * SIZE * 3, (i + 1) * SIZE * SIZE * 3);
      const png = await encodePng(pixels, SIZE, SIZE, 3);
      await Deno.writeFile(`${folder}/real/${i}.png`, png);
    }

    const accepted = [
      `--json --batch-size 2 s.npz ${ofReference}`,
      "s.npz adm.npz --json",
      "s.npz real --metrics fid,kid",
    ];
    const refused = await writeRefused(folder);
    const half = "but they are of inception-v3 (";
    refused.push([`s.npz ${ofReference} --half`, 1, half]);
    const lines = [...accepted, ...refused.map(([args]) => args)].map((args) => {
      const weights = args.includes("--weights") ? ["--device", "wasm"] : usual;
      return ["evaluate", ...(args === "" ? [] : args.split(" ")), ...weights];
    });
    const ended = await commandLines(lines, folder);
    const [again, adm, people, ...others] = ended as [Ended, Ended, Ended];
    // kept features give the same, in any order of arguments, and no network is loaded
    assertEquals(resultOf(again), result);
    assertStringIncludes(again.err, "features of evaluation");
    assertEquals(resultOf(adm), { ...result, precision: null, recall: null, kid: null });
    assertStringIncludes(adm.err, "no precision and recall: adm.npz has no images");
    assertEquals(people.code, 0, people.err);
    assertStringIncludes(people.out, `FID              ${result.fid!.toPrecision(6)}`);
    assertStringIncludes(people.out, "KID  ");
    assert(!people.out.includes("sFID"), people.out);
    for (const [i, [args, code, message]] of refused.entries()) {
      const { code: got, out, err } = (others as Ended[])[i]!;
      assertEquals(got, code, `${args}: ${out}${err}`);
      assertStringIncludes(err, message);
    }
  },
);

/** Writes files that cannot be compared; returns command lines with how they end. */
async function writeRefused(
  folder: string,
): Promise<[args: string, code: number, message: string][]> {
  const other = new Map([["blocks.0.weight", { ...hostTensor(new Float32Array(4)), shape: [4] }]]);
  await saveTorch(`${folder}/dit.pth`, other);
  await archive(`${folder}/few.npz`, images(3, 0), [SIZE, SIZE, 3]);
  await archive(`${folder}/one.npz`, images(1, 0), [SIZE, SIZE, 3]);
  await archive(`${folder}/large.npz`, images(5, 0, 32), [32, 32, 3]);
  await saveNpz(
    `${folder}/floats.npz`,
    new Map([["arr_0", {
      ...hostTensor(new Float32Array(12)),
      shape: [1, 2, 2, 3],
    }]]),
  );
  await saveNpz(
    `${folder}/none.npz`,
    new Map([["x", { ...hostTensor(new Float32Array(1)), shape: [1] }]]),
  );
  await Deno.writeTextFile(`${folder}/text.npz`, "no archive");
  await saveNpz(
    `${folder}/narrow.npz`,
    new Map([["mu", hostTensor(new Float32Array(3))], ["sigma", {
      ...hostTensor(new Float32Array(9)),
      shape: [3, 3],
    }]]),
  );
  return [
    ["", 2, "expected SAMPLES.npz and REFERENCE.npz or FOLDER but got neither"],
    ["s.npz", 2, 'but got "s.npz"'],
    ["s.npz s.npz --metrics fdi", 2, "did you mean fid?"],
    [
      "gone.npz s.npz",
      1,
      "gone.npz: expected an archive of images (.npz) but there is no such file",
    ],
    [
      "text.npz s.npz",
      1,
      "text.npz: expected an archive of images (.npz), as sample-many writes it",
    ],
    ["floats.npz s.npz", 1, "expected images in arr_0, u8 [N, H, W, 1 or 3], but found f32"],
    ["none.npz s.npz", 1, "none.npz: expected images in arr_0 but found x"],
    ["few.npz s.npz", 1, "few.npz: expected 4 images or more as samples"],
    ["one.npz s.npz --metrics fid", 1, "one.npz: expected 2 images or more as samples"],
    ["s.npz few.npz", 1, "few.npz: expected 4 images or more as reference"],
    [
      "s.npz large.npz",
      1,
      "large.npz: expected images of 24x24, as the samples are, but found 32x32",
    ],
    [
      "s.npz none.npz",
      1,
      "expected a reference, with images in arr_0 or statistics in mu and sigma",
    ],
    [
      "s.npz narrow.npz",
      1,
      "narrow.npz: expected mu of 2,048 features, as Inception has them, but",
    ],
    ["s.npz s.npz --weights gone.pth", 1, "get them with deno task download inception"],
    ["s.npz s.npz --page x.html", 2, "--page: says nothing of --features inception"],
    ["s.npz s.npz --cache text.npz", 1, "text.npz: expected a folder to write to but a file is"],
    ["s.npz s.npz --weights dit.pth", 1, "dit.pth: expected the Inception-v3 of 2015"],
  ];
}
