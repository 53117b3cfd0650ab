/** Reference files of diffusion, and comparing tensors with what is in them. */
import { assert } from "@std/assert";
import { type HostTensor, loadSafetensors, toFloat64, toInt32 } from "../io/mod.ts";
import { type Device, type Tensor, tensor } from "../tensor/mod.ts";
import { eachDevice, scaledError, type TestDevice } from "./devices.ts";
import { goldenPath } from "./fixtures.ts";

/** Devices that the cases run on. */
export const DEVICES: readonly TestDevice[] = ["reference", "wasm", "webgpu"];

/** One reference file: `loss/analytic` is `loss/analytic.safetensors` and its json. */
export class Golden<J> {
  private constructor(
    readonly json: J,
    readonly tensors: ReadonlyMap<string, HostTensor>,
  ) {}

  static async load<J>(name: string): Promise<Golden<J>> {
    const [json, tensors] = [goldenPath(`${name}.json`)!, goldenPath(`${name}.safetensors`)!];
    return new Golden(
      JSON.parse(await Deno.readTextFile(json)) as J,
      await loadSafetensors(tensors),
    );
  }

  host(name: string): HostTensor {
    const found = this.tensors.get(name);
    assert(found, `no tensor ${name}`);
    return found;
  }

  /** Values as float64. */
  values(name: string): Float64Array<ArrayBuffer> {
    return toFloat64(this.host(name));
  }

  /** Integers. */
  integers(name: string): number[] {
    return [...toInt32(this.host(name))];
  }

  /** A float tensor on the current device. */
  tensor(name: string): Tensor {
    return tensor(this.values(name), this.host(name).shape, { dtype: "f32" });
  }

  /** Entry `index` along the first axis of a float tensor. */
  entry(name: string, index: number): Tensor {
    const [, ...shape] = this.host(name).shape;
    const size = shape.reduce((a, b) => a * b, 1);
    const values = this.values(name).subarray(index * size, (index + 1) * size);
    return tensor(values, shape, { dtype: "f32" });
  }

  /** Asserts that `got` is the tensor `name` to within `limit` of its largest element. */
  async compare(got: Tensor, name: string, limit: number): Promise<void> {
    assertClose(name, await got.data(), this.values(name), limit);
  }
}

/** Asserts that all elements agree to within `limit` of the largest one. */
export function assertClose(
  name: string,
  got: ArrayLike<number>,
  want: ArrayLike<number>,
  limit: number,
): void {
  const error = scaledError(got, want);
  assert(error <= limit, `${name} is off by ${error}, limit ${limit}`);
}

/** Registers a test of reference files on each device; ignored, with the reason, without them. */
export function goldenEachDevice(
  name: string,
  files: readonly string[],
  run: (device: Device) => Promise<void>,
  devices: readonly TestDevice[] = DEVICES,
): void {
  const needed = files.flatMap((file) => [`${file}.json`, `${file}.safetensors`]);
  const missing = needed.filter((file) => goldenPath(file) === undefined);
  if (missing.length === 0) eachDevice(name, run, devices);
  else Deno.test({ name: `${name} (needs golden ${missing.join(", ")})`, ignore: true, fn() {} });
}
