/** Features of Inception-v3, and the weights that they come from. */
import { cast, noGrad } from "@dit/core/autograd";
import {
  foldedInception,
  INCEPTION_CLASSES,
  INCEPTION_SIZE,
  inceptionInput,
  InceptionV3,
  POOL_WIDTH,
} from "@dit/core/inception";
import { isTorch, SafetensorsFile, type TensorSource, TorchFile } from "@dit/core/io";
import { loadWeights, StateDictError, withoutInit } from "@dit/core/nn";
import { scope, type Tensor } from "@dit/core/tensor";
import { pretrainedPath } from "../model/catalog.ts";
import { fileSha256 } from "../model/download.ts";
import { CommandError } from "../shared/errors.ts";
import type { FeatureExtractor, FeatureSet, ImagesShape } from "./features.ts";

/** All that the ADM suite takes of images. */
export interface InceptionResult {
  /** [N, 2048] */
  readonly pool: FeatureSet;
  /** [N, 2023] at 299x299. */
  readonly spatial: FeatureSet;
  /** Without their bias, [N, 1008]. */
  readonly logits: FeatureSet;
}

/** How the network computes. */
export interface InceptionOptions {
  /** Side in pixels that images are resized to; 299, but for tests. */
  readonly size?: number;
  /** In float16, the resized images aside. */
  readonly half?: boolean;
}

/** The network on the current device. */
export class InceptionExtractor implements FeatureExtractor, Disposable {
  readonly name: string;
  readonly width = POOL_WIDTH;
  readonly #model: InceptionV3;
  readonly #size: number;
  readonly #half: boolean;

  private constructor(name: string, model: InceptionV3, { size, half }: InceptionOptions) {
    [this.name, this.#model] = [name, model];
    [this.#size, this.#half] = [size ?? INCEPTION_SIZE, half ?? false];
  }

  /**
   * Loads the weights of pytorch-fid's release, or of a file of the same tensors in safetensors.
   *
   * @throws {CommandError} where there is no file, or it is another network's.
   */
  static async open(path: string, options: InceptionOptions = {}): Promise<InceptionExtractor> {
    const name = await inceptionName(path, options);
    using weights = await openInception(path);
    const dtype = options.half ? "f16" : "f32";
    const model = withoutInit(() => new InceptionV3(), { dtype });
    try {
      await loadWeights(model, weights.source);
    } catch (error) {
      model.dispose();
      throw error instanceof StateDictError ? otherNetwork(path, error) : error;
    }
    return new InceptionExtractor(name, model.eval(), options);
  }

  /** Those of `pool`. */
  async extract(images: Uint8Array, shape: ImagesShape): Promise<FeatureSet> {
    return (await this.extractAll(images, shape)).pool;
  }

  /** Features of a batch of images, u8 [N, H, W, C]. */
  async extractAll(images: Uint8Array, shape: ImagesShape): Promise<InceptionResult> {
    const [count] = shape;
    let reads: Promise<ArrayLike<number>>[];
    {
      using _ = scope();
      reads = noGrad(() => {
        const x = inceptionInput(images, shape, this.#size);
        const { pool, spatial } = this.#model.forward(this.#half ? cast(x, "f16") : x);
        const wide = (t: Tensor) => this.#half ? cast(t, "f32") : t;
        return [pool, spatial, this.#model.logitsWithoutBias(pool)].map((t) => wide(t).data());
      });
    }
    const [pool, spatial, logits] = await Promise.all(reads);
    const set = (data: ArrayLike<number>): FeatureSet => ({
      count,
      width: data.length / count,
      rows: Float32Array.from(data),
    });
    return { pool: set(pool!), spatial: set(spatial!), logits: set(logits!) };
  }

  /** Classes that logits are of. */
  get classes(): number {
    return INCEPTION_CLASSES;
  }

  [Symbol.dispose](): void {
    this.#model.dispose();
  }
}

/** Weights as the network takes them, in a file that is open. */
interface OpenInception extends Disposable {
  readonly source: TensorSource;
}

async function openInception(path: string): Promise<OpenInception> {
  const file = await isTorch(path) ? await TorchFile.open(path) : await SafetensorsFile.open(path);
  try {
    const source = foldedInception(file instanceof TorchFile ? file.stateDict() : file);
    return { source, [Symbol.dispose]: () => file.close() };
  } catch (error) {
    file.close();
    throw error instanceof StateDictError ? otherNetwork(path, error) : error;
  }
}

/** The error of a file with the weights of another network, which may have hundreds of faults. */
function otherNetwork(path: string, error: StateDictError): CommandError {
  const [first = "", ...faults] = error.message.split("\n");
  const shown = [first, ...faults.slice(0, 3), ...(faults.length > 3 ? ["  ..."] : [])].join("\n");
  const message = shown.startsWith(path) ? shown : `${path}: ${shown}`;
  return new CommandError(message, { cause: error });
}

/**
 * Looks whether a file has the tensors of the network, without reading them.
 *
 * @throws {CommandError} where it has others.
 */
export async function checkInceptionFile(path: string): Promise<void> {
  using _ = await openInception(path);
}

/** What features of weights in a file are known by: the network, the weights, and the precision. */
export async function inceptionName(
  path: string,
  { size = INCEPTION_SIZE, half = false }: InceptionOptions = {},
): Promise<string> {
  let digest: string;
  try {
    digest = await fileSha256(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new CommandError(
      `${path}: expected the weights of Inception-v3 but there is no such file; get them with ` +
        `deno task download inception, give their place with --weights, or compare without them by ` +
        `--features classifier`,
    );
  }
  const parts = [
    digest.slice(0, 16),
    ...(half ? ["f16"] : []),
    ...(size === INCEPTION_SIZE ? [] : [`${size}px`]),
  ];
  return `inception-v3 (${parts.join(", ")})`;
}

/** Where the downloaded weights are. */
export function usualInceptionPath(): string {
  return pretrainedPath("inception");
}
