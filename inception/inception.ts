/**
 * Inception-v3 as Fréchet distances are measured with: the network of 2015-12-05 that TensorFlow
 * distributed, whose weights the pytorch-fid release has in PyTorch's format. It differs from
 * torchvision's in its 1,008 classes, in averages that leave the padding out, and in the last block,
 * which takes the largest of each window where the others take means (Seitzer, pytorch-fid,
 * `FIDInceptionA`, `C`, `E_1` and `E_2`).
 */
import { contiguous, linear, maxPool2d, mean, permute, slice } from "../autograd/mod.ts";
import { Linear, Module, tidy } from "../nn/mod.ts";
import { scope, ShapeError, shapeText, type Tensor } from "../tensor/mod.ts";
import { Block, type PathShape, Unit, type UnitShape } from "./blocks.ts";

/** Pixels a side of the images that the network was made for. */
export const INCEPTION_SIZE = 299;
/** The smallest side that leaves a pixel at every layer. */
export const SMALLEST_INCEPTION_SIZE = 75;
/** Numbers that the last layer before the classes has: those of FID, precision, recall and KID. */
export const POOL_WIDTH = 2048;
/** Classes; some of them have no name. */
export const INCEPTION_CLASSES = 1008;
/** Channels of `mixed_6/conv` that sFID reads. */
const SPATIAL_CHANNELS = 7;
/** Numbers that sFID reads of an image of 299x299: those channels at 17x17 places. */
export const SPATIAL_WIDTH = 17 * 17 * SPATIAL_CHANNELS;

/** A unit of a square kernel, or of rows by columns. */
function unit(
  name: string,
  outputs: number,
  kernel: number | readonly [number, number],
  how: { stride?: 1 | 2; padded?: boolean } = {},
): UnitShape {
  return { name, outputs, kernel: typeof kernel === "number" ? [kernel, kernel] : kernel, ...how };
}

/** 35x35: 1x1, 5x5, and two of 3x3. */
function blockA(poolOutputs: number): PathShape[] {
  return [
    { units: [unit("branch1x1", 64, 1)] },
    { units: [unit("branch5x5_1", 48, 1), unit("branch5x5_2", 64, 5)] },
    {
      units: [
        unit("branch3x3dbl_1", 64, 1),
        unit("branch3x3dbl_2", 96, 3),
        unit("branch3x3dbl_3", 96, 3),
      ],
    },
    { pool: "average", units: [unit("branch_pool", poolOutputs, 1)] },
  ];
}

/** 35x35 to 17x17. */
function blockB(): PathShape[] {
  return [
    { units: [unit("branch3x3", 384, 3, { stride: 2 })] },
    {
      units: [
        unit("branch3x3dbl_1", 64, 1),
        unit("branch3x3dbl_2", 96, 3),
        unit("branch3x3dbl_3", 96, 3, { stride: 2 }),
      ],
    },
    { pool: "max, stride 2", units: [] },
  ];
}

/** 17x17: 7x7 as 1x7 and 7x1. */
function blockC(width: number): PathShape[] {
  return [
    { units: [unit("branch1x1", 192, 1)] },
    {
      units: [
        unit("branch7x7_1", width, 1),
        unit("branch7x7_2", width, [1, 7]),
        unit("branch7x7_3", 192, [7, 1]),
      ],
    },
    {
      units: [
        unit("branch7x7dbl_1", width, 1),
        unit("branch7x7dbl_2", width, [7, 1]),
        unit("branch7x7dbl_3", width, [1, 7]),
        unit("branch7x7dbl_4", width, [7, 1]),
        unit("branch7x7dbl_5", 192, [1, 7]),
      ],
    },
    { pool: "average", units: [unit("branch_pool", 192, 1)] },
  ];
}

/** 17x17 to 8x8. */
function blockD(): PathShape[] {
  return [
    { units: [unit("branch3x3_1", 192, 1), unit("branch3x3_2", 320, 3, { stride: 2 })] },
    {
      units: [
        unit("branch7x7x3_1", 192, 1),
        unit("branch7x7x3_2", 192, [1, 7]),
        unit("branch7x7x3_3", 192, [7, 1]),
        unit("branch7x7x3_4", 192, 3, { stride: 2 }),
      ],
    },
    { pool: "max, stride 2", units: [] },
  ];
}

/** 8x8: 3x3 as 1x3 beside 3x1. */
function blockE(pool: "average" | "max"): PathShape[] {
  return [
    { units: [unit("branch1x1", 320, 1)] },
    {
      units: [unit("branch3x3_1", 384, 1)],
      fork: [unit("branch3x3_2a", 384, [1, 3]), unit("branch3x3_2b", 384, [3, 1])],
    },
    {
      units: [unit("branch3x3dbl_1", 448, 1), unit("branch3x3dbl_2", 384, 3)],
      fork: [unit("branch3x3dbl_3a", 384, [1, 3]), unit("branch3x3dbl_3b", 384, [3, 1])],
    },
    { pool, units: [unit("branch_pool", 192, 1)] },
  ];
}

/** The convolutions that come first; the largest of 3x3 is taken after those marked so. */
const STEM: readonly (UnitShape & { pooled?: boolean })[] = [
  unit("Conv2d_1a_3x3", 32, 3, { stride: 2 }),
  unit("Conv2d_2a_3x3", 32, 3, { padded: false }),
  { ...unit("Conv2d_2b_3x3", 64, 3), pooled: true },
  unit("Conv2d_3b_1x1", 80, 1),
  { ...unit("Conv2d_4a_3x3", 192, 3, { padded: false }), pooled: true },
];

/** The blocks, by torchvision's names. */
const BLOCKS: readonly (readonly [name: string, paths: PathShape[]])[] = [
  ["Mixed_5b", blockA(32)],
  ["Mixed_5c", blockA(64)],
  ["Mixed_5d", blockA(64)],
  ["Mixed_6a", blockB()],
  ["Mixed_6b", blockC(128)],
  ["Mixed_6c", blockC(160)],
  ["Mixed_6d", blockC(160)],
  ["Mixed_6e", blockC(192)],
  ["Mixed_7a", blockD()],
  ["Mixed_7b", blockE("average")],
  ["Mixed_7c", blockE("max")],
];

/**
 * The block that sFID reads: `mixed_6/conv:0` in the TensorFlow graph. There the blocks are numbered
 * `mixed` (35x35), `mixed_1`, ... `mixed_10`, so `mixed_6` is the seventh, Mixed_6d here; `conv` is
 * the first scope in it, the path of 1x1; and the last node of a scope, its ReLU, bears the scope's
 * own name. That path's channels are the first of the block's.
 */
const SPATIAL_BLOCK = "Mixed_6d";

/** [N, C, H, W] to [N, H, W, 7], the first channels of each place. */
function spatialOf(y: Tensor): Tensor {
  return contiguous(permute(slice(y, 1, { end: SPATIAL_CHANNELS }), [0, 2, 3, 1]));
}

/** What evaluation reads of the network. */
export interface InceptionFeatures {
  /** [N, 2048]: means over the places of the last block (`pool_3`). */
  readonly pool: Tensor;
  /**
   * [N, H, W, 7]: the first channels of `mixed_6/conv`, by places as TensorFlow has them; 17x17 for
   * images of 299x299, 2,023 numbers each.
   */
  readonly spatial: Tensor;
}

/** The network. Its weights are loaded with `loadWeights(model, foldedInception(file))`. */
export class InceptionV3 extends Module {
  readonly #stem: readonly {
    readonly name: string;
    readonly unit: Unit;
    readonly pooled: boolean;
  }[];
  readonly #blocks: readonly (readonly [string, Block])[];
  /** [1008, 2048] and a bias, which the Inception Score leaves out */
  readonly fc: Linear;

  /** With fresh weights; nothing is drawn inside `withoutInit`. */
  constructor() {
    super();
    let width = 3;
    this.#stem = STEM.map(({ pooled = false, ...shape }) => {
      const unit = new Unit(width, shape);
      width = shape.outputs;
      return { name: shape.name, unit, pooled };
    });
    this.#blocks = BLOCKS.map(([name, paths]) => {
      const block = new Block(width, paths);
      width = block.outputs;
      return [name, block] as const;
    });
    this.fc = new Linear(width, INCEPTION_CLASSES);
  }

  /** Its parts by torchvision's names. */
  override *members(): Iterable<[string, Module]> {
    for (const { name, unit } of this.#stem) yield [name, unit];
    for (const [name, block] of this.#blocks) yield [name, block];
    yield ["fc", this.fc];
  }

  /**
   * Features of images.
   *
   * @param x [N, 3, H, W], (pixels - 128) / 128; 299x299 where features are to be compared with
   * others', 75x75 at least.
   * @param onStage Called with what each part gives, by its name; valid during the call.
   * @throws {ShapeError} where x is of another shape.
   */
  forward(x: Tensor, onStage: (name: string, y: Tensor) => void = () => {}): InceptionFeatures {
    const [, channels, ...sides] = x.shape;
    if (x.rank !== 4 || channels !== 3 || sides.some((side) => side < SMALLEST_INCEPTION_SIZE)) {
      throw new ShapeError(
        `InceptionV3: expected images [N, 3, H, W] of ${SMALLEST_INCEPTION_SIZE} pixels a side or ` +
          `more but got ${shapeText(x.shape)}`,
      );
    }
    using s = scope("InceptionV3");
    let y = x;
    /** Goes on with what a part gives, and frees what it was given. */
    const advance = (name: string, next: Tensor): void => {
      onStage(name, next);
      if (y !== x) y.dispose();
      y = next;
    };
    for (const { name, unit, pooled } of this.#stem) {
      advance(name, unit.forward(y));
      if (pooled) advance(`${name} pooled`, tidy(() => maxPool2d(y, { size: 3, stride: 2 })));
    }
    let spatial: Tensor | undefined;
    for (const [name, block] of this.#blocks) {
      advance(name, block.forward(y));
      if (name === SPATIAL_BLOCK) spatial = spatialOf(y);
    }
    const pool = mean(y, [2, 3]);
    onStage("pool", pool);
    s.keep([pool, spatial!]);
    return { pool, spatial: spatial! };
  }

  /**
   * Logits without their bias, as the Inception Score takes them: [N, 2048] to [N, 1008].
   */
  logitsWithoutBias(pool: Tensor): Tensor {
    return linear(pool, this.fc.weight);
  }
}
