/** Encoder and decoder: levels of residual blocks, from fine to coarse and back. */
import { Conv2d, GroupNorm, Module, tidy } from "../nn/mod.ts";
import type { Tensor } from "../tensor/mod.ts";
import type { AutoencoderKLOptions } from "./config.ts";
import { Downsample, MidBlock, ResnetBlock, Upsample } from "./layers.ts";

/** A step of a model. */
interface Step {
  forward(x: Tensor): Tensor;
}

/** One step after another, freeing what lies between. */
function through(steps: readonly Step[], x: Tensor): Tensor {
  const [first, ...rest] = steps;
  if (!first) return x;
  let y = first.forward(x);
  for (const step of rest) {
    using before = y; // freed once the next is there
    y = step.forward(before);
  }
  return y;
}

/** One level on the way down. */
export class DownBlock extends Module {
  /** The first changes the number of channels */
  resnets: ResnetBlock[];
  /** One, or none at the coarsest level */
  downsamplers: Downsample[];

  /** A level from `inputs` to `outputs` channels; `halves` the size unless it is the last one. */
  constructor(inputs: number, outputs: number, layers: number, groups: number, halves: boolean) {
    super();
    this.resnets = Array.from(
      { length: layers },
      (_, j) => new ResnetBlock(j === 0 ? inputs : outputs, outputs, groups),
    );
    this.downsamplers = halves ? [new Downsample(outputs)] : [];
  }

  /** x [N, inputs, H, W] to [N, outputs, H / 2, W / 2]. */
  forward(x: Tensor): Tensor {
    return through([...this.resnets, ...this.downsamplers], x);
  }
}

/** One level on the way up. */
export class UpBlock extends Module {
  /** The first changes the number of channels */
  resnets: ResnetBlock[];
  /** One, or none at the finest level */
  upsamplers: Upsample[];

  /** A level from `inputs` to `outputs` channels; `doubles` the size unless it is the last one. */
  constructor(inputs: number, outputs: number, layers: number, groups: number, doubles: boolean) {
    super();
    this.resnets = Array.from(
      { length: layers },
      (_, j) => new ResnetBlock(j === 0 ? inputs : outputs, outputs, groups),
    );
    this.upsamplers = doubles ? [new Upsample(outputs)] : [];
  }

  /** x [N, inputs, H, W] to [N, outputs, 2 H, 2 W]. */
  forward(x: Tensor): Tensor {
    return through([...this.resnets, ...this.upsamplers], x);
  }
}

/** Images to the moments of their latents, before `quantConv`. */
export class Encoder extends Module {
  /** 3x3, image channels to those of the finest level */
  convIn: Conv2d;
  /** Finest first */
  downBlocks: DownBlock[];
  /** Attention at the coarsest level */
  midBlock: MidBlock;
  /** With SiLU */
  convNormOut: GroupNorm;
  /** 3x3, to two numbers a latent */
  convOut: Conv2d;

  /** See {@link AutoencoderKLOptions}. */
  constructor(config: Required<AutoencoderKLOptions>) {
    super();
    const { blockOutChannels: widths, layersPerBlock, normNumGroups: groups } = config;
    const last = widths.length - 1;
    const coarsest = widths[last]!;
    this.convIn = new Conv2d(config.inChannels, widths[0]!, 3, { padding: 1 });
    this.downBlocks = widths.map((width, i) =>
      new DownBlock(widths[i - 1] ?? widths[0]!, width, layersPerBlock, groups, i < last)
    );
    this.midBlock = new MidBlock(coarsest, groups);
    this.convNormOut = new GroupNorm(groups, coarsest, { eps: 1e-6, silu: true });
    this.convOut = new Conv2d(coarsest, 2 * config.latentChannels, 3, { padding: 1 });
  }

  /** x [N, C, H, W] to [N, 2 latent channels, H / factor, W / factor]. */
  forward(x: Tensor): Tensor {
    const { convIn, downBlocks, midBlock, convNormOut, convOut } = this;
    return tidy(() => through([convIn, ...downBlocks, midBlock, convNormOut, convOut], x));
  }
}

/** Latents, after `postQuantConv`, to images. */
export class Decoder extends Module {
  /** 3x3, latent channels to those of the coarsest level */
  convIn: Conv2d;
  /** Coarsest first */
  upBlocks: UpBlock[];
  /** Attention at the coarsest level */
  midBlock: MidBlock;
  /** With SiLU */
  convNormOut: GroupNorm;
  /** 3x3, to image channels */
  convOut: Conv2d;

  /** See {@link AutoencoderKLOptions}. */
  constructor(config: Required<AutoencoderKLOptions>) {
    super();
    const { layersPerBlock, normNumGroups: groups } = config;
    const widths = config.blockOutChannels.toReversed();
    const last = widths.length - 1;
    this.convIn = new Conv2d(config.latentChannels, widths[0]!, 3, { padding: 1 });
    this.upBlocks = widths.map((width, i) =>
      new UpBlock(widths[i - 1] ?? widths[0]!, width, layersPerBlock + 1, groups, i < last)
    );
    this.midBlock = new MidBlock(widths[0]!, groups);
    this.convNormOut = new GroupNorm(groups, widths[last]!, { eps: 1e-6, silu: true });
    this.convOut = new Conv2d(widths[last]!, config.outChannels, 3, { padding: 1 });
  }

  /** z [N, latent channels, h, w] to [N, C, factor h, factor w]. */
  forward(z: Tensor): Tensor {
    const { convIn, midBlock, upBlocks, convNormOut, convOut } = this;
    return tidy(() => through([convIn, midBlock, ...upBlocks, convNormOut, convOut], z));
  }
}
