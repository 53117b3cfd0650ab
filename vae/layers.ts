/**
 * The parts of the autoencoder. Names are those of diffusers; shapes are N batch, C channels,
 * H x W pixels.
 */
import { add, attention, permute, reshape, upsampleNearest } from "../autograd/mod.ts";
import { Conv2d, GroupNorm, Linear, Module, Sequential, tidy } from "../nn/mod.ts";
import type { Tensor } from "../tensor/mod.ts";

const EPS = 1e-6;

/** Two convolutions, each after a group norm with SiLU, added to what went in. */
export class ResnetBlock extends Module {
  /** Before `conv1`, with SiLU */
  norm1: GroupNorm;
  /** 3x3, inputs to outputs */
  conv1: Conv2d;
  /** Before `conv2`, with SiLU */
  norm2: GroupNorm;
  /** 3x3, outputs to outputs */
  conv2: Conv2d;
  /** 1x1 past both, where the number of channels changes */
  convShortcut: Conv2d | null;

  /** A block from `inputs` to `outputs` channels. */
  constructor(inputs: number, outputs: number, groups: number) {
    super();
    this.norm1 = new GroupNorm(groups, inputs, { eps: EPS, silu: true });
    this.conv1 = new Conv2d(inputs, outputs, 3, { padding: 1 });
    this.norm2 = new GroupNorm(groups, outputs, { eps: EPS, silu: true });
    this.conv2 = new Conv2d(outputs, outputs, 3, { padding: 1 });
    this.convShortcut = inputs === outputs ? null : new Conv2d(inputs, outputs, 1);
  }

  /** x [N, inputs, H, W] to [N, outputs, H, W]. */
  forward(x: Tensor): Tensor {
    const h = tidy(() => this.conv1.forward(this.norm1.forward(x)));
    return tidy(() => {
      const y = this.conv2.forward(this.norm2.forward(h));
      return add(this.convShortcut?.forward(x) ?? x, y);
    });
  }
}

/** Attention of all pixels among themselves with one head as wide as there are channels. */
export class AttentionBlock extends Module {
  /** Before queries, keys and values; no SiLU */
  groupNorm: GroupNorm;
  /** C to C */
  toQ: Linear;
  /** C to C */
  toK: Linear;
  /** C to C */
  toV: Linear;
  /** C to C, before the sum with what went in */
  toOut: Sequential;

  /** A block of `channels` channels. */
  constructor(channels: number, groups: number) {
    super();
    this.groupNorm = new GroupNorm(groups, channels, { eps: EPS });
    this.toQ = new Linear(channels, channels);
    this.toK = new Linear(channels, channels);
    this.toV = new Linear(channels, channels);
    this.toOut = new Sequential(new Linear(channels, channels));
  }

  /** x [N, C, H, W] to the same shape. */
  forward(x: Tensor): Tensor {
    const [n, c, h, w] = x.shape as [number, number, number, number];
    const pixels = reshape(this.groupNorm.forward(x), [n, c, h * w]);
    const tokens = reshape(permute(pixels, [0, 2, 1]), [n, 1, h * w, c]); // [N, 1 head, H W, C]
    const [q, k, v] = [this.toQ, this.toK, this.toV].map((layer) => layer.forward(tokens));
    const y = this.toOut.forward(attention(q!, k!, v!)); // [N, 1, H W, C]
    return add(x, reshape(permute(y, [0, 1, 3, 2]), x.shape));
  }
}

/** Half the size: a 3x3 convolution at every second pixel. */
export class Downsample extends Module {
  /** With zeros to the right and below only, as latent diffusion pads */
  conv: Conv2d;

  /** A layer of `channels` channels. */
  constructor(channels: number) {
    super();
    const padding = { top: 0, bottom: 1, left: 0, right: 1 };
    this.conv = new Conv2d(channels, channels, 3, { stride: 2, padding });
  }

  /** x [N, C, H, W] to [N, C, H / 2, W / 2]. */
  forward(x: Tensor): Tensor {
    return this.conv.forward(x);
  }
}

/** Twice the size: every pixel twice along both axes, then a 3x3 convolution. */
export class Upsample extends Module {
  /** At the larger size */
  conv: Conv2d;

  /** A layer of `channels` channels. */
  constructor(channels: number) {
    super();
    this.conv = new Conv2d(channels, channels, 3, { padding: 1 });
  }

  /** x [N, C, H, W] to [N, C, 2 H, 2 W]. */
  forward(x: Tensor): Tensor {
    return tidy(() => this.conv.forward(upsampleNearest(x, 2)));
  }
}

/** The coarsest level: a residual block, attention, a residual block. */
export class MidBlock extends Module {
  /** One */
  attentions: AttentionBlock[];
  /** One before the attention and one after */
  resnets: ResnetBlock[];

  /** A block of `channels` channels. */
  constructor(channels: number, groups: number) {
    super();
    this.attentions = [new AttentionBlock(channels, groups)];
    this.resnets = [0, 1].map(() => new ResnetBlock(channels, channels, groups));
  }

  /** x [N, C, H, W] to the same shape. */
  forward(x: Tensor): Tensor {
    const [before, after] = this.resnets as [ResnetBlock, ResnetBlock];
    return tidy(() => {
      const y = before.forward(x);
      return after.forward(tidy(() => this.attentions[0]!.forward(y)));
    });
  }
}
