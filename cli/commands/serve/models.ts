/**
 * The models that are served: those of runs, of `--ckpt`, published ones that were downloaded, and
 * the demo's. Each has an id, by which alone it can be asked for.
 */
import { byteCount, crc32, elementCount, type TensorSource } from "@dit/core/io";
import { describeModel, type ModelInfo } from "@dit/web";
import { basename, join } from "@std/path";
import { findAutoencoder, vaeOptionsBeside } from "../../model/autoencoder.ts";
import { pretrainedPath } from "../../model/catalog.ts";
import { classLabelsFor } from "../../model/class_labels.ts";
import { DEMO_NAMES, type DemoName, demoPath, DEMOS } from "../../model/demos.ts";
import { withAutoencoder } from "../../model/latent_shape.ts";
import type { SamplingFlags } from "../../model/sampling_flags.ts";
import { openSampled } from "../../model/sampling_setup.ts";
import type { Weights } from "../../model/weights.ts";
import { BEST, listCheckpoints, listRuns } from "../../run/find.ts";
import { CommandError, messageOf } from "../../shared/errors.ts";
import { exists } from "../../shared/files.ts";
import { idOf, isFile, isWithin } from "./folders.ts";
import { Fresh } from "./fresh.ts";

/** Where a model is, for whatever opens it. Plain. */
export interface ModelPlace {
  readonly id: string;
  /** As `openSampled()` takes it, with `flags`. */
  readonly path: string;
  readonly flags: SamplingFlags;
  /** `--vae`, which is for models of latents only. */
  readonly vae: string | undefined;
}

/** A model that is served. */
export interface ServedModel extends ModelPlace {
  readonly info: ModelInfo;
  /** Steps that it was trained for; 0 where that is not known. */
  readonly step: number;
  /** The autoencoder's file; null for a model of pixels, and where there is none. */
  readonly vaePath: string | null;
  /** What changes when the weights do. */
  readonly version: string;
}

/** Where models are looked for. */
export interface ModelSources {
  /** The folder of runs; null where they are not served. */
  readonly results: string | null;
  /** What `--ckpt` names. */
  readonly ckpt: string | undefined;
  /** The flags of the command line. */
  readonly flags: SamplingFlags;
}

/** Checkpoints of a run that are served: the newest. */
const MOST_OF_A_RUN = 5;

/** Checkpoints that are served in all. */
const MOST = 100;

/** A model that may be served. */
interface Candidate extends ModelPlace {
  readonly step: number;
  /** What stands behind its name in its title. */
  readonly about: string;
  /** The folder that it has to be in; any by default. */
  readonly within?: string;
}

/** What is known of a candidate; the reason where it cannot be served. */
type Known =
  & { readonly version: string }
  & (
    | { readonly model: ServedModel }
    | { readonly reason: string }
  );

/** The models that are served at the moment. */
export class Models {
  readonly #sources: ModelSources;
  readonly #models = new Fresh(() => this.#read());
  #known = new Map<string, Known>();

  /** Looks for nothing yet. */
  constructor(sources: ModelSources) {
    this.#sources = sources;
  }

  /** All of them: that of `--ckpt`, those of runs, the newest first, and the others. */
  list(): Promise<readonly ServedModel[]> {
    return this.#models.get();
  }

  /** The model of an id; undefined where there is none. */
  async find(id: string): Promise<ServedModel | undefined> {
    return (await this.list()).find((model) => model.id === id);
  }

  /** Why weights that are there are not served; undefined where they are, and where there are none. */
  async reasonOf(id: string): Promise<string | undefined> {
    await this.list();
    const known = this.#known.get(id);
    return known && "reason" in known ? known.reason : undefined;
  }

  /**
   * Checks that the weights of `--ckpt` are there.
   *
   * @throws {CommandError} as `openSampled()`.
   */
  async checkCkpt(): Promise<void> {
    const { ckpt, flags } = this.#sources;
    if (ckpt !== undefined) (await openSampled(ckpt, flags))[Symbol.dispose]();
  }

  async #read(): Promise<ServedModel[]> {
    const [before, known] = [this.#known, new Map<string, Known>()];
    for (const candidate of await this.#candidates()) {
      const { id, path, within } = candidate;
      const isServed = within === undefined || await isFile(path) && await isWithin(path, within);
      if (known.has(id) || !isServed) continue;
      const version = await versionOf(path);
      if (version === undefined) continue; // removed just now
      const same = before.get(id);
      known.set(id, same?.version === version ? same : await describe(candidate, version));
    }
    this.#known = known;
    return [...known.values()].flatMap((known) => "model" in known ? [known.model] : []);
  }

  async #candidates(): Promise<Candidate[]> {
    const { results, ckpt, flags } = this.#sources;
    const { weights, vae } = flags;
    const usual = { flags: weights ? { weights } : {}, vae };
    const found: Candidate[] = [];
    if (ckpt !== undefined) {
      const about = basename(ckpt);
      found.push({ id: idOf("ckpt", about), path: ckpt, flags, vae, step: 0, about });
    }
    const runs = results !== null && await exists(results) ? await listRuns(results, "dit") : [];
    for (const run of runs) {
      for (const { step, path } of (await listCheckpoints(run)).slice(-MOST_OF_A_RUN).reverse()) {
        const about = `run ${basename(run)}, step ${step.toLocaleString("en")}`;
        found.push({ ...usual, id: runModelId(run, step), path, step, about, within: results! });
      }
      const best = { id: idOf(basename(run), "best"), path: join(run, BEST), step: 0 };
      found.push({ ...usual, ...best, about: `run ${basename(run)}, its best`, within: results! });
      if (found.length >= MOST) break;
    }
    for (const size of ["256x256", "512x512"] as const) {
      const path = pretrainedPath(`DiT-XL-2-${size}`);
      found.push({ ...usual, id: `published-${size}`, path, step: 0, about: `published, ${size}` });
    }
    for (const name of DEMO_NAMES) {
      const about = `the demo's ${DEMOS[name].about}`;
      found.push({ ...usual, id: demoId(name), path: demoPath(name), step: 0, about });
    }
    return found;
  }
}

/** The id of weights that come along. */
export function demoId(name: DemoName): string {
  return name === DEMO_NAMES[0] ? "demo" : idOf("demo", name);
}

/** The id of a run's checkpoint. */
export function runModelId(run: string, step: number): string {
  return idOf(basename(run), String(step));
}

/** What changes when a file or a folder does; undefined where there is none. */
async function versionOf(path: string): Promise<string | undefined> {
  const checkpoints = await Deno.stat(join(path, "checkpoints")).catch(() => undefined);
  const info = checkpoints ?? await Deno.stat(path).catch(() => undefined);
  return info && `${path} ${info.size} ${info.mtime?.getTime()} ${info.ino}`;
}

async function describe(candidate: Candidate, version: string): Promise<Known> {
  const { about, within: _, ...place } = candidate;
  try {
    using weights = await openSampled(place.path, place.flags);
    const vaePath = await autoencoderOf(weights, place.vae);
    const config = vaePath === null
      ? weights.config
      : withAutoencoder(weights, vaePath, await vaeOptionsBeside(vaePath));
    const { parameters, bytes } = sizeOf(weights.source);
    const labels = await classLabelsFor(weights);
    const info = describeModel(config, {
      id: place.id,
      title: `${config.name}, ${about}`,
      version: crc32(new TextEncoder().encode(version)).toString(16), // which names no path
      parameters,
      bytes: bytes + (vaePath === null ? 0 : (await Deno.stat(vaePath)).size),
      guidance: weights.cfgScale,
      ...(labels.length > 0 ? { classNames: labels.map((names) => names.join(", ")) } : {}),
    });
    return { version, model: { ...place, info, vaePath, version } };
  } catch (error) {
    return { version, reason: messageOf(error) }; // half written, or no model of this project
  }
}

/** The autoencoder that a model's latents are decoded by; null where there is none. */
async function autoencoderOf(
  { config: { latents }, vaePath }: Weights,
  vae: string | undefined,
): Promise<string | null> {
  if (latents === null || vae === "none") return null;
  try {
    return await findAutoencoder(vae ?? vaePath ?? latents.vae, false);
  } catch (error) {
    if (error instanceof CommandError) return null; // said when something is sampled
    throw error;
  }
}

function sizeOf(source: TensorSource): { parameters: number; bytes: number } {
  let [parameters, bytes] = [0, 0];
  for (const name of source.keys()) {
    const info = source.info(name);
    parameters += elementCount(info.shape);
    bytes += byteCount(info);
  }
  return { parameters, bytes };
}
