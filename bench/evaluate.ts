/**
 * What evaluation costs: images a second of Inception beside PyTorch's on the same machine where
 * /usr/bin/python3 or python3 has torch and torchvision, and the statistics at their full width.
 *
 *     deno task bench evaluate          --tiny for one small round
 */
import { fromFileUrl } from "@std/path";
import { frechetDistance, GaussianSums } from "../cli/evaluation/frechet.ts";
import { pivotedCholesky } from "../cli/evaluation/symmetric.ts";
import { FAST_TIER } from "../cli/launch.ts";
import { init, randn, shutdown } from "@dit/core";
import type { SuiteOptions } from "./main.ts";
import type { Report, Row } from "./measure.ts";

/** The network's process starts in the fast tier, as the command does. */
export const tiered = false;

const HERE = new URL("evaluate/", import.meta.url);

/** Rounds in which the programs take turns; the best of each counts. */
const ROUNDS = 2;

/** Runs the suite. */
export async function run(report: Report, { tiny }: SuiteOptions): Promise<void> {
  report.add(
    "Inception-v3, 299x299, images a second",
    await network(tiny ? 1 : 8, tiny ? 1 : ROUNDS),
  );
  report.add("statistics of features", await statistics(tiny ? 64 : 2048, tiny ? 100 : 2500));
}

/** A program that prints how many images a second it has passed through the network. */
interface Contestant {
  readonly name: string;
  readonly command: readonly [string, ...string[]];
  readonly env?: Record<string, string>;
}

async function network(batch: number, rounds: number): Promise<Row[]> {
  const script = (file: string) => fromFileUrl(new URL(file, HERE));
  const own = (name: string, flags: string): Contestant => ({
    name,
    command: [
      Deno.execPath(),
      "run",
      "--allow-read",
      "--allow-env",
      script("network.ts"),
      `${batch}`,
    ],
    env: { DENO_V8_FLAGS: flags },
  });
  const torch = (python: string, threads: number): Contestant => ({
    name: `PyTorch, ${threads} thread${threads === 1 ? "" : "s"}`,
    command: [python, script("torch_inception.py"), `${batch}`, `${threads}`],
  });
  const cores = navigator.hardwareConcurrency;
  const python = await pythonWithTorch();
  const contestants = [
    own("wasm, fast tier", FAST_TIER),
    own("wasm, safe tier", "--no-experimental-wasm-revectorize"),
    ...python === null ? [] : [torch(python, 1), torch(python, cores)],
  ];
  if (python === null) {
    console.log("no Python with torch and torchvision: its figures are left out");
  }
  const best = new Map<string, number>();
  for (let round = 0; round < rounds; round++) {
    for (const one of contestants) {
      best.set(one.name, Math.max(best.get(one.name) ?? 0, await rate(one)));
    }
  }
  return [...best].map(([name, images]) => ({
    name,
    batch,
    "images/s": images,
    "50,000 images, hours": 50_000 / images / 3600,
  }));
}

async function rate({ command: [program, ...args], env = {} }: Contestant): Promise<number> {
  const { code, stdout, stderr } = await new Deno.Command(program, { args, env }).output();
  const text = new TextDecoder();
  const rate = Number(text.decode(stdout).trim().split("\n").at(-1));
  if (code === 0 && rate > 0) return rate;
  throw new Error(`${program} ${args.join(" ")}: ${text.decode(stderr)}`);
}

/** A Python that has what the reference needs; null where there is none. */
async function pythonWithTorch(): Promise<string | null> {
  for (const python of ["python3", "/usr/bin/python3", "python"]) {
    try {
      const { success } = await new Deno.Command(python, {
        args: ["-c", "import torch, torchvision"],
        stderr: "null",
      }).output();
      if (success) return python;
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  return null;
}

/** Covariances and distances of features of `width` numbers. */
async function statistics(width: number, count: number): Promise<Row[]> {
  const wasm = await init({ device: "wasm" });
  const sets = await Promise.all([0, 1].map(async () => {
    using x = randn([count, width]);
    return { count, width, rows: Float32Array.from(await x.data()) };
  }));
  await shutdown(wasm);
  const clock = () => performance.now() / 1000;
  const start = clock();
  const [a, b] = sets.map((set) => {
    const sums = new GaussianSums(width);
    sums.add(set);
    return sums.gaussian();
  }) as [ReturnType<GaussianSums["gaussian"]>, ReturnType<GaussianSums["gaussian"]>];
  const summed = clock();
  pivotedCholesky(a.covariance, width);
  const factored = clock();
  frechetDistance(a, b);
  return [{
    width,
    "covariance, samples/s": 2 * count / (summed - start),
    "Cholesky, s": factored - summed,
    "Fréchet distance, s": clock() - factored,
  }];
}
