/**
 * The commands: one row each, from which `launch.ts` takes their rights, `main.ts` their modules,
 * and a test what `deno.json` says of them. Imports little, so that `launch.ts` starts at once.
 */
import { basename, dirname, join } from "@std/path";
import {
  isPictures,
  MIRROR_VARIABLE,
  PRETRAINED_FOLDER,
  pretrainedHosts,
} from "./model/catalog.ts";
import {
  CROPS,
  CROPS_SIZE,
  DATA,
  EVALUATION_CACHE,
  FEATURES_OUT,
  RESULTS,
  SAMPLE_OUT,
  SAMPLES,
  SERVE,
  VAE_OUT,
} from "./shared/defaults.ts";
import type { RawFlags } from "./shared/flags.ts";
import { isHost, isPort } from "./shared/hosts.ts";
import { namedData } from "./shared/named_data.ts";

/** What a command needs beside reading. */
export interface Grants {
  /** Folders or files it writes to. */
  readonly write: readonly string[];
  /** Whether it may load native code: sharp, which decodes images, is native. */
  readonly native?: boolean;
  /** Hosts it fetches from. */
  readonly net?: readonly string[];
}

/** A command as `deno task` starts it. */
export interface CommandRow {
  /** What it does, as `deno task` lists it. */
  readonly description: string;
  /** Its module below this folder, which exports `run()`. */
  readonly module: string;
  /** Whether several processes can share its work. */
  readonly shared?: boolean;
  /** Whether it computes on a device, of which it may keep how kernels run fastest. */
  readonly computes?: boolean;
  /** The rights that a command line needs; flags are as they were typed. */
  grants(flags: RawFlags): Grants;
}

/** Every command by its name. */
export const COMMANDS: Readonly<Record<string, CommandRow>> = {
  "train": {
    description: "Trains a model: digits in minutes, or your own images (--help)",
    module: "commands/train/command.ts",
    computes: true,
    shared: true,
    grants({ values }) {
      const data = values["data"] ?? values["data-path"] ?? values["feature-path"] ?? DATA;
      const named = namedData(data);
      // a run that is resumed says itself whether its samples are evaluated
      const evaluated = values["eval-every"] ?? named?.recipe?.["eval-every"] ?? values["resume"];
      const isFolder = values["resume"] !== undefined || named === undefined;
      return {
        write: [
          values["results-dir"] ?? RESULTS,
          ...runFolder(values["resume"]),
          ...given(values["export-demo"]).map(dirname),
          ...given(evaluated?.toString()).map(() => EVALUATION_CACHE),
          ...(isFolder || named.hasAnySize ? cropsFolder(values["crop-cache"]) : []),
        ],
        native: isFolder || named.native,
      };
    },
  },
  "train-vae": {
    description: "Trains an autoencoder on your own images, for latents of them",
    module: "commands/train_vae/command.ts",
    computes: true,
    shared: true,
    grants: ({ values }) => ({
      write: [
        values["out"] ?? VAE_OUT,
        ...runFolder(values["resume"]),
        ...cropsFolder(values["crop-cache"]),
      ],
      native: true,
    }),
  },
  "extract-features": {
    description: "Makes latents of images once, to train on",
    module: "commands/extract/command.ts",
    computes: true,
    shared: true,
    grants: ({ values }) => ({
      write: [values["out"] ?? values["features-path"] ?? FEATURES_OUT],
      native: true,
    }),
  },
  "sample": {
    description: "Samples pictures from a model, such as: deno task sample --classes 3,7",
    module: "commands/sample/command.ts",
    computes: true,
    // the published weights are downloaded where they are asked for, and not otherwise
    grants: ({ values }) => ({
      write: [
        outFolder(values["out"] ?? SAMPLE_OUT),
        ...given(values["image-size"] && PRETRAINED_FOLDER),
      ],
      net: values["image-size"] === undefined ? [] : downloadHosts(),
    }),
  },
  "sample-many": {
    description: "Samples pictures by the ten thousand for evaluation, on any number of processes",
    module: "commands/sample_many/command.ts",
    computes: true,
    shared: true,
    grants: ({ values }) => ({
      write: [
        values["sample-dir"] ?? SAMPLES,
        ...given(values["image-size"] && PRETRAINED_FOLDER),
      ],
      net: values["image-size"] === undefined ? [] : downloadHosts(),
    }),
  },
  "serve": {
    description: "Serves a studio on http://localhost:8000: sampling, live, and runs as they go",
    module: "commands/serve/command.ts",
    computes: true,
    grants({ values }) {
      const { host, port } = { ...SERVE, ...values };
      // what is none is refused by the command, which says what it expected
      if (!isHost(host) || !isPort(Number(port))) return { write: [] };
      return { write: [], net: [`${host.includes(":") ? `[${host}]` : host}:${Number(port)}`] };
    },
  },
  "build-page": {
    description: "Writes the studio's page as static files that sample and train in any browser",
    module: "commands/build_page/command.ts",
    grants({ values, rest }) {
      const { data } = values;
      return {
        write: rest,
        native: data !== undefined && data !== "none" && (namedData(data)?.native ?? true),
      };
    },
  },
  "evaluate": {
    description: "Measures how close samples are to real images: FID, precision, recall and more",
    module: "commands/evaluate/command.ts",
    computes: true,
    // a folder's images are decoded by sharp
    grants: ({ values, rest }) => ({
      write: [values["cache"] ?? EVALUATION_CACHE, ...given(values["page"]).map(dirname)],
      native: !rest.every((path) => /\.npz$/i.test(path)) || rest.length < 2,
    }),
  },
  "download": {
    description: "Downloads published weights; says which there are when none is named",
    module: "commands/download/command.ts",
    // pictures come over npm and are drawn or cropped by sharp; weights come from their makers
    grants({ values, rest }) {
      const pictures = rest.filter(isPictures);
      const folder = values["dir"] ?? ".";
      return {
        write: [
          values["dir"] ?? PRETRAINED_FOLDER,
          ...pictures.map((name) => join(folder, name))
            .flatMap((made) => [made, `${made}.unfinished`]),
        ],
        native: pictures.length > 0,
        net: downloadHosts(),
      };
    },
  },
  "tune": {
    description: "Measures how kernels run fastest on this machine's GPU, and keeps it",
    module: "commands/tune/command.ts",
    computes: true,
    grants: ({ values }) => ({ write: given(values["out"]) }),
  },
  "export": {
    description: "Writes weights as PyTorch's models.py and diffusers read them",
    module: "commands/export/command.ts",
    grants: ({ values }) => ({ write: given(values["out"] && outFolder(values["out"])) }),
  },
};

/**
 * The row of a command.
 *
 * @returns undefined where there is no such command.
 */
export function findCommand(name: string): CommandRow | undefined {
  return Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
}

/** The message for a command that there is not. */
export function unknownCommand(name: string): string {
  return `expected a command (${Object.keys(COMMANDS).join(", ")}) but got "${name}"`;
}

/** The folder that a file goes to; a folder itself. */
function outFolder(path: string): string {
  return /\.\w+$/.test(path) ? dirname(path) : path;
}

function downloadHosts(): string[] {
  return pretrainedHosts(Deno.env.get(MIRROR_VARIABLE));
}

/**
 * The folder of the run that is resumed, which a checkpoint in it stands for too: one that lies
 * elsewhere is continued in a new folder.
 */
function runFolder(resume: string | undefined): string[] {
  if (resume === "latest" || resume === "auto") return [];
  return given(resume).flatMap((path) => {
    if (!/\.safetensors$/.test(path)) return [path];
    // the best checkpoint, and the only one of older runs
    if (["best.safetensors", "training.safetensors"].includes(basename(path))) {
      return [dirname(path)];
    }
    return /(^|[\\/])checkpoints[\\/]\d{7,}\.safetensors$/.test(path) ? [join(path, "../..")] : [];
  });
}

/** Where cropped images are kept, unless none are to be. */
function cropsFolder(gigabytes: string | undefined): string[] {
  return Number(gigabytes ?? CROPS_SIZE) > 0 ? [CROPS] : [];
}

function given(value: string | undefined): string[] {
  return value === undefined || value === "" ? [] : [value]; // "" is refused later
}
