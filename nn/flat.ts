/**
 * Parameters gathered into a few large tensors, so that an optimiser, an average or a norm is one
 * kernel over all of them instead of one each.
 */
import type { Parameter } from "../autograd/mod.ts";
import {
  type Device,
  DeviceError,
  DTypeError,
  outsideScopes,
  ShapeError,
  shapeText,
  type Tensor,
  zeros,
} from "../tensor/mod.ts";

/**
 * Elements of a buffer at most: 128 MiB of f32, which every WebGPU adapter binds in one piece. A
 * larger parameter has a buffer to itself.
 */
const MAX_ELEMENTS = 2 ** 25;

/** Parameters start at multiples of 256 bytes, where WebGPU can bind them. */
const ALIGNMENT = 64;

/**
 * Some parameters side by side. The gaps between them are zeros, and stay so. It lives as long as
 * any of them.
 */
export class FlatBuffer {
  /** [length]: the weights. */
  readonly weights: Tensor;
  /** [length]: the gradients, where an optimiser has asked for them. */
  grads: Tensor | null = null;
  readonly #members: readonly (readonly [Parameter, number])[];

  constructor(device: Device, members: readonly (readonly [Parameter, number])[], length: number) {
    this.#members = members;
    this.weights = outsideScopes(() => zeros([length], { device }));
    let left = members.length;
    for (const [p, at] of members) {
      p.moveTo(this.weights, at);
      p.onDispose = () => {
        if (--left === 0) this.#dispose();
      };
      buffers.set(p, this);
    }
  }

  #dispose(): void {
    this.weights.dispose();
    this.grads?.dispose();
  }

  /** Its parameters, each with where it begins. */
  get members(): readonly (readonly [Parameter, number])[] {
    return this.#members;
  }

  /** Makes the flat gradient buffer, in which the parameters collect their gradients. */
  bindGrads(): Tensor {
    if (this.grads) return this.grads;
    const { device, shape } = this.weights;
    const grads = outsideScopes(() => zeros(shape, { device }));
    for (const [p, at] of this.#members) p.bindGrad(grads, at);
    return this.grads = grads;
  }

  /** The gradients, zeros for parameters that backward did not reach. */
  completeGrads(): Tensor {
    const grads = this.bindGrads();
    for (const [p] of this.#members) p.zeroGradIfMissing();
    return grads;
  }

  /** A tensor of zeros like the weights, freed by its holder. */
  like(): Tensor {
    const { device, shape } = this.weights;
    return outsideScopes(() => zeros(shape, { device }));
  }
}

const buffers = new WeakMap<Parameter, FlatBuffer>();

/**
 * The buffers that hold exactly `parameters`; those that are in none yet are gathered into new ones. Frozen
 * and trained ones never share a buffer.
 *
 * @throws {DTypeError} unless all are f32.
 * @throws {DeviceError} where they are on several devices.
 */
export function flatBuffersOf(parameters: readonly Parameter[], op: string): FlatBuffer[] {
  const wanted = new Set(parameters);
  const found = new Set<FlatBuffer>();
  const fresh: Parameter[] = [];
  for (const p of wanted) {
    if (p.dtype !== "f32") {
      throw new DTypeError(`${op}: expected f32 parameters (masters) but got ${p.dtype}`);
    }
    if (!p.contiguous) {
      throw new ShapeError(
        `${op}: expected parameters whose elements lie row-major but got one of shape ${
          shapeText(p.shape)
        } that is a view; contiguous(x) makes a copy that does`,
      );
    }
    if (p.device !== parameters[0]!.device) {
      throw new DeviceError(
        `${op}: expected parameters on one device but got ${
          parameters[0]!.device.name
        } and ${p.device.name}`,
      );
    }
    const buffer = buffers.get(p);
    if (buffer) found.add(buffer);
    else fresh.push(p);
  }
  for (const buffer of found) {
    if (buffer.members.some(([p]) => !wanted.has(p))) {
      throw new RangeError(
        `${op}: expected all parameters that were gathered together before, or none of them`,
      );
    }
  }
  const frozen = fresh.filter((p) => !p.requiresGrad);
  const trained = fresh.filter((p) => p.requiresGrad);
  return [...found, ...gather(trained), ...gather(frozen)];
}

function gather(parameters: readonly Parameter[]): FlatBuffer[] {
  const made: FlatBuffer[] = [];
  let members: [Parameter, number][] = [];
  let at = 0;
  const close = () => {
    if (members.length > 0) made.push(new FlatBuffer(parameters[0]!.device, members, at));
    [members, at] = [[], 0];
  };
  for (const p of parameters) {
    const padded = Math.ceil(p.size / ALIGNMENT) * ALIGNMENT;
    if (at + padded > MAX_ELEMENTS) close();
    members.push([p, at]);
    at += padded;
  }
  close();
  return made;
}
