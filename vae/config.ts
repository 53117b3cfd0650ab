/** The shape of an autoencoder, as diffusers' config.json says it. */
import { checkOptionNames, ShapeError } from "../tensor/mod.ts";

/** Shape of a model; the defaults are those of stabilityai/sd-vae-ft-mse and -ema. */
export interface AutoencoderKLOptions {
  /** Channels of the images that go in; 3. */
  inChannels?: number;
  /** Channels of the images that come out; 3. */
  outChannels?: number;
  /** Channels of the latents; 4. */
  latentChannels?: number;
  /** Channels at each level, finest first; each level but the last halves the image. */
  blockOutChannels?: readonly number[];
  /** Residual blocks a level on the way down; one more on the way up. 2. */
  layersPerBlock?: number;
  /** Groups of channels that are normalised together; 32. */
  normNumGroups?: number;
  /** Width of the images the model was trained on; no limit. 256. */
  sampleSize?: number;
  /** What latents are multiplied by before a diffusion model sees them; 0.18215. */
  scalingFactor?: number;
}

const DEFAULTS: Required<AutoencoderKLOptions> = {
  inChannels: 3,
  outChannels: 3,
  latentChannels: 4,
  blockOutChannels: [128, 256, 512, 512],
  layersPerBlock: 2,
  normNumGroups: 32,
  sampleSize: 256,
  scalingFactor: 0.18215,
};

/**
 * Fills in the defaults and checks what was given.
 *
 * @throws {TypeError} where there is no such option.
 * @throws {ShapeError} where sizes do not fit each other.
 */
export function checkedOptions(options: AutoencoderKLOptions): Required<AutoencoderKLOptions> {
  checkOptionNames("AutoencoderKL", options, DEFAULTS);
  const config = { ...DEFAULTS, ...options };
  const { blockOutChannels, scalingFactor, normNumGroups, ...counts } = config;
  const sizes = { ...counts, normNumGroups, levels: blockOutChannels.length };
  const named = [
    ...Object.entries(sizes),
    ...blockOutChannels.map((c) => ["channels", c] as const),
  ];
  for (const [name, value] of named) {
    if (!Number.isInteger(value) || value < 1) {
      throw new ShapeError(`AutoencoderKL: expected ${name} to be 1 or more but got ${value}`);
    }
  }
  for (const channels of blockOutChannels) {
    if (channels % normNumGroups !== 0) {
      throw new ShapeError(
        `AutoencoderKL: expected blockOutChannels that are multiples of normNumGroups (${normNumGroups}) ` +
          `but got ${channels}`,
      );
    }
  }
  if (!(scalingFactor > 0)) {
    throw new RangeError(
      `AutoencoderKL: expected a scalingFactor above 0 but got ${scalingFactor}`,
    );
  }
  return config;
}

/** The options that have a plain counterpart in the file. */
const NAMES = {
  inChannels: "in_channels",
  outChannels: "out_channels",
  latentChannels: "latent_channels",
  blockOutChannels: "block_out_channels",
  layersPerBlock: "layers_per_block",
  normNumGroups: "norm_num_groups",
  sampleSize: "sample_size",
  scalingFactor: "scaling_factor",
} as const satisfies Record<keyof AutoencoderKLOptions, string>;

/** What the model is built of, without a choice: what a file says of these must be this. */
const FIXED = {
  act_fn: "silu",
  mid_block_add_attention: true,
  use_quant_conv: true,
  use_post_quant_conv: true,
} as const;

const DOWN = "DownEncoderBlock2D";
const UP = "UpDecoderBlock2D";

/**
 * The options in the words of diffusers' `config.json`. What is not in the file is as in
 * {@link AutoencoderKLOptions}; keys that begin with an underscore and unknown ones mean nothing here.
 *
 * @throws {RangeError} where the file asks for another architecture than this one.
 */
export function vaeOptionsFromConfig(
  config: Readonly<Record<string, unknown>>,
): AutoencoderKLOptions {
  for (const [name, want] of Object.entries(FIXED)) {
    expectValue(name, config[name] ?? want, want);
  }
  for (const [name, kind] of [["down_block_types", DOWN], ["up_block_types", UP]] as const) {
    const kinds = config[name] ?? [];
    if (!Array.isArray(kinds)) expectValue(name, kinds, [kind]);
    for (const found of kinds as unknown[]) expectValue(name, found, kind);
  }
  const options: Record<string, unknown> = {};
  for (const [option, name] of Object.entries(NAMES)) {
    const value = config[name];
    if (value === undefined || value === null) continue;
    const number = (v: unknown) => typeof v === "number" && Number.isFinite(v);
    const fits = option === "blockOutChannels"
      ? Array.isArray(value) && value.every(number)
      : number(value);
    if (!fits) expectValue(name, value, option === "blockOutChannels" ? [128] : 1);
    options[option] = value;
  }
  return options as AutoencoderKLOptions;
}

function expectValue(name: string, found: unknown, want: unknown): void {
  if (found === want) return;
  throw new RangeError(
    `AutoencoderKL: expected ${name} like ${JSON.stringify(want)} in the configuration but got ${
      JSON.stringify(found)
    }`,
  );
}

/** The configuration that diffusers reads, for `config.json`. */
export function vaeConfigOf(options: AutoencoderKLOptions): Record<string, unknown> {
  const config = checkedOptions(options);
  return {
    _class_name: "AutoencoderKL",
    act_fn: FIXED.act_fn,
    down_block_types: config.blockOutChannels.map(() => DOWN),
    up_block_types: config.blockOutChannels.map(() => UP),
    ...Object.fromEntries(
      Object.entries(NAMES).map(([option, name]) => [name, config[option as keyof typeof NAMES]]),
    ),
  };
}
