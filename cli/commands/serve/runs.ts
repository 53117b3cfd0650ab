/** Training runs as they go, as far as their folders tell: another process writes them. */
import type { MetricsPart, RunInfo } from "@dit/web";
import { basename, join } from "@std/path";
import { DESCRIPTIONS, listCheckpoints, namesIn } from "../../run/find.ts";
import { readJson } from "../../shared/files.ts";
import { idOf, isFile, isWithin } from "./folders.ts";
import { Fresh } from "./fresh.ts";
import { lastMetrics, NO_METRICS, readMetrics } from "./metrics_part.ts";
import { runModelId } from "./models.ts";

/** Runs that are listed: those that were written last. */
const MOST = 200;

/** Most bytes of a description. */
const MOST_DESCRIPTION = 1 << 20;

/** Most bytes of a grid of pictures. */
const MOST_PICTURE = 64 << 20;

/** A run is taken for going while its last line is no older than this, in milliseconds ... */
const QUIET = 60_000;
/** ... or than so many times what lies between its last two lines. */
const LINES = 3;

/** A run as it is listed. */
interface Found {
  readonly path: string;
  readonly info: RunInfo;
  /** The folder of its pictures. */
  readonly pictures: string;
}

/** What its description says of a run. */
interface Description {
  readonly trainee: string;
  readonly model: string;
  readonly steps: number | null;
  readonly settings: RunInfo["settings"];
}

/** The runs in a folder. */
export class RunFolders {
  readonly #results: string;
  readonly #runs = new Fresh(() => this.#read());

  /** Looks for nothing yet; the folder need not be there. */
  constructor(results: string) {
    this.#results = results;
  }

  /** All of them, the one that was written last first. */
  async list(): Promise<RunInfo[]> {
    return (await this.#runs.get()).map(({ info }) => info);
  }

  /** Measurements of a run; undefined where there is no such run. */
  async metrics(id: string, after: string): Promise<MetricsPart | undefined> {
    const run = await this.#find(id);
    if (run === undefined) return undefined;
    const path = await this.#metricsOf(run.path);
    return path === undefined ? NO_METRICS : await readMetrics(path, after);
  }

  /** The PNG file that a run drew after a step; undefined where there is none. */
  async picture(id: string, step: number): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const run = await this.#find(id);
    if (run === undefined) return undefined;
    const path = join(run.pictures, `${String(step).padStart(7, "0")}.png`);
    if (!await isFile(path) || !await isWithin(path, this.#results)) return undefined;
    try {
      if ((await Deno.stat(path)).size > MOST_PICTURE) return undefined;
      const bytes = await Deno.readFile(path);
      return isPng(bytes) ? bytes : undefined;
    } catch {
      return undefined; // removed just now
    }
  }

  async #find(id: string): Promise<Found | undefined> {
    return (await this.#runs.get()).find(({ info }) => info.id === id);
  }

  async #read(): Promise<Found[]> {
    const found: Found[] = [];
    for (const name of await namesIn(this.#results)) {
      try {
        const run = await this.#describe(join(this.#results, name));
        if (run) found.push(run);
      } catch { // removed while it was looked at, or not to be read: no run to show
      }
    }
    found.sort((a, b) => b.info.written - a.info.written || (a.path < b.path ? 1 : -1));
    return found.slice(0, MOST);
  }

  async #describe(path: string): Promise<Found | undefined> {
    const description = await this.#description(path);
    if (description === undefined) return undefined;
    const metrics = await this.#metricsOf(path);
    const lines = metrics === undefined ? [] : await lastMetrics(metrics);
    const pictures = join(
      path,
      description.trainee === "autoencoder" ? "reconstructions" : "samples",
    );
    const last = (await listCheckpoints(path)).at(-1);
    const step = Math.max(lines.at(-1)?.["step"] ?? 0, last?.step ?? 0);
    const written = await lastWritten(path);
    const { trainee, model, steps, settings } = description;
    const [first, second] = lines;
    const between = second ? 1000 * (second["seconds"]! - first!["seconds"]!) || 0 : 0;
    const isQuiet = Date.now() - written > Math.max(QUIET, LINES * between);
    return {
      path,
      pictures,
      info: {
        id: idOf(basename(path)),
        title: basename(path),
        model,
        trainee,
        step,
        steps,
        state: steps !== null && step >= steps ? "finished" : isQuiet ? "ended" : "going",
        written,
        settings,
        drawn: await drawnIn(pictures),
        checkpoint: last && trainee === "dit" ? runModelId(path, last.step) : null,
      },
    };
  }

  /** The file of a run's measurements; a link to elsewhere, or a pipe, is as good as nothing. */
  async #metricsOf(run: string): Promise<string | undefined> {
    const path = join(run, "metrics.jsonl");
    return await isFile(path) && await isWithin(path, this.#results) ? path : undefined;
  }

  async #description(path: string): Promise<Description | undefined> {
    for (const name of DESCRIPTIONS) {
      const file = join(path, name);
      if (!await isFile(file) || !await isWithin(file, this.#results)) continue;
      if ((await Deno.stat(file)).size > MOST_DESCRIPTION) continue;
      const { trainee = "dit", settings, model, steps } = await readJson(file);
      if (!isObject(settings) || !isObject(model) || typeof trainee !== "string") continue;
      return {
        trainee: trainee.slice(0, 40),
        model: typeof model["name"] === "string" ? model["name"].slice(0, 80) : trainee,
        steps: typeof steps === "number" && Number.isFinite(steps) ? steps : null,
        settings: shownSettings(settings),
      };
    }
    return undefined;
  }
}

/** Settings that may be shown: numbers, and words that are no paths. */
function shownSettings(settings: Record<string, unknown>): RunInfo["settings"] {
  const isShown = (value: unknown): value is string | number | boolean | null =>
    value === null || typeof value === "boolean" || Number.isFinite(value) ||
    typeof value === "string" && /^[\w.+-]{1,40}$/.test(value);
  const shown = Object.entries(settings).filter(([, value]) => isShown(value));
  return Object.fromEntries(shown) as RunInfo["settings"];
}

/** When a run wrote last, in milliseconds since 1970. */
async function lastWritten(path: string): Promise<number> {
  const times = await Promise.all(
    ["metrics.jsonl", "log.txt", "checkpoints", ...DESCRIPTIONS].map(async (name) => {
      const info = await Deno.stat(join(path, name)).catch(() => undefined);
      return info?.mtime?.getTime() ?? 0;
    }),
  );
  return Math.max(...times);
}

/** Steps that a folder has pictures of, in order. */
async function drawnIn(folder: string): Promise<number[]> {
  const steps = (await namesIn(folder)).flatMap((name) => {
    const digits = /^(\d{7,12})\.png$/.exec(name)?.[1];
    return digits === undefined ? [] : [Number(digits)];
  });
  return steps.sort((a, b) => a - b);
}

function isPng(bytes: Uint8Array): boolean {
  return [0x89, 0x50, 0x4e, 0x47].every((byte, i) => bytes[i] === byte);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
