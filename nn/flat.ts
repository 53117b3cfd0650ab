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
 * Elements of a slab at most: 128 MiB of f32, which every WebGPU adapter binds in one piece. A
 * larger parameter has a slab to itself.
 */
const SLAB = 2 ** 25;

/** Parameters start at multiples of 256 bytes, where WebGPU can bind them. */
const ALIGNMENT = 64;

/**
 * Some parameters side by side. The gaps between them are zeros, and stay so. It lives as long as
 * any of them.
 */
export class Slab {
  /** [length]: the weights. */
  readonly weights: Tensor;
  /** [length]: the gradients, where an optimiser has asked for them. */
  grads: Tensor | null = null;
  readonly #places: readonly (readonly [Parameter, number])[];

  constructor(device: Device, places: readonly (readonly [Parameter, number])[], length: number) {
    this.#places = places;
    this.weights = outsideScopes(() => zeros([length], { device }));
    let left = places.length;
    for (const [p, at] of places) {
      p.moveTo(this.weights, at);
      p.onDispose = () => {
        if (--left === 0) this.#dispose();
      };
      slabs.set(p, this);
    }
  }

  #dispose(): void {
    this.weights.dispose();
    this.grads?.dispose();
  }

  /** Its parameters with their first elements. */
  get places(): readonly (readonly [Parameter, number])[] {
    return this.#places;
  }

  /** Gives the gradients a place here too. */
  placeGrads(): Tensor {
    if (this.grads) return this.grads;
    const { device, shape } = this.weights;
    const grads = outsideScopes(() => zeros(shape, { device }));
    for (const [p, at] of this.#places) p.placeGrad(grads, at);
    return this.grads = grads;
  }

  /** Gradients, with zeros for parameters that backward did not reach. */
  settledGrads(): Tensor {
    const grads = this.placeGrads();
    for (const [p] of this.#places) p.settleGrad();
    return grads;
  }

  /** A tensor of zeros like the weights, freed by its holder. */
  like(): Tensor {
    const { device, shape } = this.weights;
    return outsideScopes(() => zeros(shape, { device }));
  }
}

const slabs = new WeakMap<Parameter, Slab>();

/**
 * The slabs that hold exactly `parameters`; those that have no place yet are given one. Frozen
 * and trained ones never share a slab.
 *
 * @throws {DTypeError} unless all are f32.
 * @throws {DeviceError} where they are on several devices.
 */
export function slabsOf(parameters: readonly Parameter[], op: string): Slab[] {
  const wanted = new Set(parameters);
  const found = new Set<Slab>();
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
    const slab = slabs.get(p);
    if (slab) found.add(slab);
    else fresh.push(p);
  }
  for (const slab of found) {
    if (slab.places.some(([p]) => !wanted.has(p))) {
      throw new RangeError(
        `${op}: expected all parameters that were gathered together before, or none of them`,
      );
    }
  }
  const frozen = fresh.filter((p) => !p.requiresGrad);
  const trained = fresh.filter((p) => p.requiresGrad);
  return [...found, ...gather(trained), ...gather(frozen)];
}

function gather(parameters: readonly Parameter[]): Slab[] {
  const made: Slab[] = [];
  let places: [Parameter, number][] = [];
  let at = 0;
  const close = () => {
    if (places.length > 0) made.push(new Slab(parameters[0]!.device, places, at));
    [places, at] = [[], 0];
  };
  for (const p of parameters) {
    const room = Math.ceil(p.size / ALIGNMENT) * ALIGNMENT;
    if (at + room > SLAB) close();
    places.push([p, at]);
    at += room;
  }
  close();
  return made;
}
