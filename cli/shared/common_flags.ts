/** Flags that mean the same to several commands. */
import { DISTRIBUTED } from "../distributed/open.ts";
import { CROPS, CROPS_SIZE } from "./defaults.ts";
import { DEVICES, GPUS } from "./device.ts";
import { choice, count, type Flag, real, text, toggle, withDefault } from "./flags.ts";
import { type Setting, setting } from "./settings.ts";

/** Sides beyond this are typing errors: such images would need gigabytes each. */
export const MOST_PIXELS = 16384;

/**
 * Timesteps beyond this are typing errors: the tables of a process have an entry for each, as have
 * the stops of a sampler.
 */
export const MOST_TIMESTEPS = 1e6;

/** Classes beyond this are typing errors, as are labels of features: a model has a row for each. */
export const MOST_CLASSES = 2 ** 20;

/** A side of images in pixels. */
export function imageSide(help: string): Flag<number> {
  return count(help, 1, MOST_PIXELS);
}

/** `--num-workers`. */
export const WORKERS: Flag<number> = count("threads that decode images", 0, 128);

/** `--strict`. */
export const STRICT: Flag<boolean> = toggle("stop at a damaged image instead of leaving it out");

/** `--crop-cache`: what it is has no say in a run's numbers. */
export const CROP_CACHE: Setting<number, "cropCache"> = setting(
  real(`gigabytes of cropped images that ${CROPS}/ keeps for later epochs and runs, 0 for none`),
  { key: "cropCache", default: CROPS_SIZE, onResume: "free", whenAbsent: CROPS_SIZE },
);

/** `--device` without its default. */
export const DEVICE: Flag<typeof DEVICES[number]> = choice(
  DEVICES,
  "auto takes a GPU where there is one",
);

/** `--gpu` without its default. */
export const GPU: Flag<typeof GPUS[number]> = choice(
  GPUS,
  "what reaches it: dawn, native code from npm, also reaches tensor cores",
);

/** Flags of every command that computes. */
export const DEVICE_FLAGS = {
  "device": withDefault(DEVICE, "auto"),
  "gpu": withDefault(GPU, "deno"),
  "safe-wasm": toggle("on a CPU, keep the bounds checks and use 128-bit kernels"),
  "tune": withDefault(
    toggle("measure a GPU's kernels when it is first used, for some seconds"),
    true,
  ),
  "replay": withDefault(
    toggle("record what a model launches and replay it, to spare the CPU"),
    true,
  ),
} as const;

/** Flags of every command whose work several processes can share. */
export const DISTRIBUTED_FLAGS = {
  "distributed": withDefault(
    choice(
      DISTRIBUTED,
      "share the work among processes: auto does so under mpirun or srun, mpi insists on it",
    ),
    "auto",
  ),
} as const;

/** `--weights`, which of the two sets a training checkpoint has. */
export const WEIGHTS: Flag<string> & { readonly default: string } = withDefault(
  text(
    "ema|model|DECAY",
    "of a training checkpoint: averaged ones, not averaged, or one of several averages",
  ),
  "ema",
);

/** `--help`. */
export const HELP: Flag<boolean> = toggle("show this");
