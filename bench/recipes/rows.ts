/** The rows of the recipes' table: what each changes, and how its samples are made. */

/** Flags by name, as they would be typed. */
export type Flags = Readonly<Record<string, string | number | boolean>>;

/** A row. */
export interface RecipeRow {
  /** What it changes. */
  readonly name: string;
  /** What `deno task train` is given beside what all rows have. */
  readonly train: Flags;
  /** What samples are drawn with, beside what all rows have. */
  readonly sample: Flags;
}

/** What all rows have, whatever the defaults are: the paper's blocks, and its process. */
const PLAIN: Flags = {
  "process": "gaussian",
  "objective": "xstart",
  "norm": "layerNorm",
  "mlp": "gelu",
  "rope": false,
  "qk-norm": false,
  "early-head": 0,
  "bottleneck": 0,
  "conditioning": "adaLN-Zero",
  "timestep-sampler": "uniform",
  "schedule": "constant",
  "ema-decay": 0.999,
  "global-batch-size": 32,
  "lr": 2e-3,
  "beta2": 0.999,
};

/** What the data need; small models, so that all rows see enough of them. */
const OF_DATA: Readonly<Record<string, Flags>> = {
  mnist: { "model": "DiT-Mini/4" },
  emoji: { "model": "DiT-Mini/4", "image-size": 32 },
};

/** What models see of the data. */
export const SHAPES: Readonly<
  Record<
    string,
    { readonly classes: number; readonly channels: number; readonly imageSize: number }
  >
> = {
  mnist: { classes: 10, channels: 1, imageSize: 32 },
  emoji: { classes: 85, channels: 3, imageSize: 32 },
};

/** How samples of all rows are drawn. */
const SAMPLING: Flags = { "sampler": "dpm++", "num-sampling-steps": 10, "cfg-scale": 2 };

/** In miniature. */
const TINY: Flags = { "hidden-size": 32, "depth": 3, "num-heads": 2, "global-batch-size": 8 };

/** More noise than halfway, where the picture is decided. */
const NOISY_TIMES: Flags = {
  "timestep-sampler": "logit-normal",
  "time-mean": -1.2,
  "time-scale": 1,
};
const FLOW: Flags = { "process": "flow", "time-shift": 1 };
const FLOW_OF_X: Flags = { ...FLOW, "objective": "xstart" };
const LIGHTNING: Flags = { "norm": "rmsNorm", "mlp": "swiglu", "rope": true };

/** The rows of a table, the first of which the others are compared with. */
export function rowsOf(data: string): RecipeRow[] {
  const patchNumbers = 16 * SHAPES[data]!.channels;
  const row = (name: string, train: Flags = {}, sample: Flags = {}): RecipeRow => ({
    name,
    train,
    sample,
  });
  return [
    row("plain"),
    // the process
    row("flow", { ...FLOW, "objective": "v" }),
    row("flow of x_0", FLOW_OF_X),
    row("flow of x_0, noisy times", { ...FLOW_OF_X, ...NOISY_TIMES }),
    // blocks
    row("RMSNorm", { "norm": "rmsNorm" }),
    row("SwiGLU", { "mlp": "swiglu" }),
    row("RoPE", { "rope": true }),
    row("QK-norm", { "qk-norm": true }),
    row("RMSNorm, SwiGLU, RoPE", LIGHTNING),
    row("adaLN without gates", { "conditioning": "adaLN" }),
    row("in-context conditions", { "conditioning": "inContext" }),
    row("cross-attention to conditions", { "conditioning": "crossAttention" }),
    row("bottleneck", { "bottleneck": patchNumbers / 2 }),
    // how it is trained
    row("rate 1e-3", { "lr": 1e-3 }),
    row("batches of 16", { "global-batch-size": 16 }),
    row("batches of 64", { "global-batch-size": 64 }),
    row("cosine schedule", { "schedule": "cosine" }),
    row("beta2 0.95", { "beta2": 0.95 }),
    // guidance, and how samples are drawn
    row("early head, internal guidance", { "early-head": 1 }, {
      "internal-guidance": 1.4,
      "cfg-scale": 1,
    }),
    row("model guidance", { "model-guidance": 1 }, { "cfg-scale": 1 }),
    row("no guidance", {}, { "cfg-scale": 1 }),
    row("guidance in an interval", {}, { "cfg-interval": "200,800" }),
    row("twice the steps of a sample", {}, { "num-sampling-steps": 20 }),
    // together
    row("flow of x_0, noisy times, blocks", { ...FLOW_OF_X, ...NOISY_TIMES, ...LIGHTNING }),
  ];
}

/** As they would be typed. */
export function argumentsOf(flags: Flags): string[] {
  return Object.entries(flags).map(([name, value]) =>
    typeof value === "boolean" ? `--${value ? "" : "no-"}${name}` : `--${name}=${value}`
  );
}

/** What `deno task train` gets of a row. */
export function trainArguments({ train }: RecipeRow, data: string, tiny: boolean): string[] {
  const of = { ...PLAIN, ...OF_DATA[data], ...train, ...(tiny ? TINY : {}) };
  return ["--data", data, "--device", "wasm", ...argumentsOf(of)];
}

/** What `deno task sample-many` gets of a row. */
export function sampleArguments({ sample }: RecipeRow): string[] {
  return ["--device", "wasm", ...argumentsOf({ ...SAMPLING, ...sample })];
}
