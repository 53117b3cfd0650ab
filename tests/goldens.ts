/** Reference files as tensors, and tests that run against them on every device. */
import type { DiTShape } from "../dit/mod.ts";
import { loadSafetensors, toFloat32, toFloat64, toInt32 } from "../io/mod.ts";
import { type Device, type Tensor, tensor } from "../tensor/mod.ts";
import { eachDevice, scaledError, type TestDevice } from "./devices.ts";
import { goldenPath } from "./fixtures.ts";

/** One file of reference tensors. */
export class Golden {
  private constructor(readonly tensors: Awaited<ReturnType<typeof loadSafetensors>>) {}

  static async load(file: string): Promise<Golden> {
    return new Golden(await loadSafetensors(goldenPath(file)!));
  }

  /** Names of all tensors that start with `prefix`. */
  names(prefix = ""): string[] {
    return [...this.tensors.keys()].filter((name) => name.startsWith(prefix));
  }

  /** Elements of a tensor of floats. */
  floats(name: string): Float32Array<ArrayBuffer> {
    return toFloat32(this.#get(name));
  }

  /** Elements of a tensor of floats with all their digits. */
  doubles(name: string): Float64Array<ArrayBuffer> {
    return toFloat64(this.#get(name));
  }

  /** Elements of a tensor of integers. */
  integers(name: string): number[] {
    return [...toInt32(this.#get(name))];
  }

  shape(name: string): readonly number[] {
    return this.#get(name).shape;
  }

  /** A tensor on the current device: f32, or i32 where the file has integers. */
  tensor(name: string): Tensor {
    const host = this.#get(name);
    const data = /^[iu]/.test(host.dtype) ? toInt32(host) : toFloat32(host);
    return tensor(data, host.shape);
  }

  /** Part `index` along the first dimension of a tensor of floats, on the current device. */
  part(name: string, index: number): Tensor {
    const [count, ...shape] = this.shape(name);
    const floats = this.floats(name);
    const size = floats.length / count!;
    return tensor(floats.slice(index * size, (index + 1) * size), shape);
  }

  /** Shapes and f32 elements by name without `prefix`, for `loadStateDict`. */
  state(prefix = ""): Map<string, { shape: readonly number[]; data: Float32Array<ArrayBuffer> }> {
    return new Map(
      this.names(prefix).map((name) => {
        return [name.slice(prefix.length), { shape: this.shape(name), data: this.floats(name) }];
      }),
    );
  }

  #get(name: string) {
    const found = this.tensors.get(name);
    if (!found) throw new Error(`the golden file has no ${name}`);
    return found;
  }
}

/** Reads a golden JSON file. */
export async function goldenJson<T>(file: string): Promise<T> {
  return JSON.parse(await Deno.readTextFile(goldenPath(file)!)) as T;
}

/**
 * Registers a test of reference files on each device; ignored, with the reason in its name, where
 * a file is missing.
 */
export function goldenOnDevices(
  name: string,
  files: readonly string[],
  run: (device: Device) => Promise<void>,
  devices?: readonly TestDevice[],
): void {
  const missing = files.filter((file) => goldenPath(file) === undefined);
  if (missing.length === 0) eachDevice(name, run, devices);
  else {
    Deno.test({
      name: `${name} (needs golden ${missing.join(", ")})`,
      ignore: true,
      fn: () => {},
    });
  }
}

/** Throws, naming `what`, unless the largest error over the largest value is within `limit`. */
export function assertScaled(
  what: string,
  got: ArrayLike<number>,
  want: ArrayLike<number>,
  limit: number,
): void {
  const error = scaledError(got, want);
  if (!(error <= limit)) {
    throw new Error(`${what}: scaled error ${error}, expected ${limit} at most`);
  }
}

/** As {@link assertScaled}, of a tensor against the one called `name`. */
export async function assertGolden(
  golden: Golden,
  got: Tensor,
  name: string,
  limit: number,
): Promise<void> {
  assertScaled(name, await got.data(), golden.floats(name), limit);
}

/** Throws, naming `what`, unless no element is off by more than `limit`. */
export function assertAbsolute(
  what: string,
  got: ArrayLike<number>,
  want: ArrayLike<number>,
  limit: number,
): void {
  let worst = got.length === want.length ? 0 : Infinity;
  for (let i = 0; i < want.length; i++) {
    const off = Math.abs(got[i]! - want[i]!);
    worst = Number.isNaN(off) ? Infinity : Math.max(worst, off);
  }
  if (!(worst <= limit)) throw new Error(`${what}: off by ${worst}, expected ${limit} at most`);
}

/** What `dit/*.json` says of a model. */
export interface DiTCase {
  config: {
    input_size: number;
    patch_size: number;
    in_channels: number;
    hidden_size: number;
    depth: number;
    num_heads: number;
    mlp_ratio: number;
    class_dropout_prob: number;
    num_classes: number;
    learn_sigma: boolean;
  };
  cfg_scale: number;
  num_parameters: number;
  parameter_order: string[];
}

/** A model's options by the original's names, under their names here. */
export function ditOptions(config: DiTCase["config"]): DiTShape {
  return {
    inputSize: config.input_size,
    patchSize: config.patch_size,
    inChannels: config.in_channels,
    hiddenSize: config.hidden_size,
    depth: config.depth,
    numHeads: config.num_heads,
    mlpRatio: config.mlp_ratio,
    classDropoutProb: config.class_dropout_prob,
    numClasses: config.num_classes,
    learnSigma: config.learn_sigma,
  };
}
