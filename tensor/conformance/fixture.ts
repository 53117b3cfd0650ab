/**
 * What a conformance case is written with: seeded inputs and guarded outputs on some device. The
 * same calls in the same order give the same arrays on every device.
 */
import { randomBits } from "./random_bits.ts";
import type { Backend } from "../backend.ts";
import type { KernelArgs, KernelName } from "../kernels.ts";
import { checkView, type DeviceBuffer, type View } from "../view.ts";
import { type DType, DTYPE_BYTES, type HostArray, hostArray } from "../dtype.ts";
import { contiguousStrides, type Shape, sizeOf } from "../shape.ts";

/** How closely an output must agree with the reference; `scaled` unless said otherwise. */
export interface Tolerance {
  /** Limit of max|got - want| / max|want|. */
  readonly scaled?: number;
  /** Limit of |got - want| / |want| of every element, for outputs of very different sizes. */
  readonly relative?: number;
  /** Errors up to this are ignored where `relative` is used. */
  readonly absolute?: number;
}

/** The cases of every kernel; a kernel without any does not compile. */
export type CaseTable = { readonly [K in KernelName]: readonly ConformanceCase[] };

/** `cases` by their kernels, each of which must have some. */
export function casesOf<K extends KernelName>(
  kernels: readonly K[],
  cases: readonly ConformanceCase[],
): Pick<CaseTable, K> {
  const names: readonly KernelName[] = kernels;
  for (const { kernel, name } of cases) {
    if (!names.includes(kernel)) {
      throw new Error(`conformance: expected cases of ${names.join()} but got ${kernel}: ${name}`);
    }
  }
  const groups = kernels.map((kernel) =>
    [kernel, cases.filter((c) => c.kernel === kernel)] as const
  );
  for (const [kernel, group] of groups) {
    if (group.length === 0) {
      throw new Error(`conformance: expected cases of ${kernel} but got none`);
    }
  }
  return Object.fromEntries(groups) as unknown as Pick<CaseTable, K>;
}

/** One launch of one kernel and how closely its outputs must agree with the reference. */
export interface ConformanceCase {
  readonly kernel: KernelName;
  readonly name: string;
  /** Roughly the multiplications it takes, so that slow devices can leave the large cases out. */
  readonly cost: number;
  /** Whether it has f16 arrays (which only some devices' kernels read themselves). */
  readonly half: boolean;
  readonly tolerance: Tolerance;
  /** Elements before each array in its buffer; 64 keeps it on a 256-byte boundary. */
  readonly lead: number;
  /** Makes the arrays on a device and returns the kernel's arguments. */
  build(fixture: Fixture): KernelArgs[KernelName];
}

/** Where a view's elements lie, counted from the first element of its data. */
export interface MemoryLayout {
  readonly strides: Shape;
  /** Elements of the surrounding array before the first one; 0 unless given. */
  readonly offset?: number;
  /** Elements of the surrounding array; as many as the view reaches unless given. */
  readonly extent?: number;
}

/** Strides of a `shape` whose dimensions lie in memory in this order, outermost first. */
export function permuted(shape: Shape, order: readonly number[]): MemoryLayout {
  const stored = contiguousStrides(order.map((d) => shape[d]!));
  const strides = new Array<number>(shape.length);
  order.forEach((d, i) => strides[d] = stored[i]!);
  return { strides };
}

/** Strides of a `shape` that repeats along `axes`. */
export function repeated(shape: Shape, axes: readonly number[]): MemoryLayout {
  const kept = contiguousStrides(shape.map((d, i) => axes.includes(i) ? 1 : d));
  return { strides: kept.map((s, i) => axes.includes(i) ? 0 : s) };
}

/** The part of a contiguous `parent` that begins at `at`, every `step`-th element of each axis. */
export function window(
  parent: Shape,
  at: readonly number[],
  step?: readonly number[],
): MemoryLayout {
  const strides = contiguousStrides(parent);
  return {
    strides: strides.map((s, i) => s * (step?.[i] ?? 1)),
    offset: at.reduce((sum, a, i) => sum + a * strides[i]!, 0),
    extent: sizeOf(parent),
  };
}

/** Gives the value of each element in turn. */
export type Fill = (random: Random, index: number) => number;

/** Random numbers of one case, the same for every device. */
export class Random {
  /** 32 random bits. */
  readonly bits: () => number;

  constructor(seed: string) {
    // FNV-1a of the name, so that cases do not share their numbers.
    let hash = 0x811c9dc5;
    for (let i = 0; i < seed.length; i++) {
      hash = Math.imul(hash ^ seed.charCodeAt(i), 0x01000193);
    }
    this.bits = randomBits(hash);
  }

  /** A number in [0, 1). */
  uniform(): number {
    return this.bits() / 2 ** 32;
  }

  /** A standard normal number (Box and Muller). */
  normal(): number {
    return Math.sqrt(-2 * Math.log(1 - this.uniform())) * Math.cos(2 * Math.PI * this.uniform());
  }
}

/** Normal numbers. */
export function normal(deviation = 1, mean = 0): Fill {
  return (random) => mean + deviation * random.normal();
}
/** Numbers spread evenly over [low, high). */
export function uniform(low: number, high: number): Fill {
  return (random) => low + (high - low) * random.uniform();
}
/** Whole numbers in [low, high). */
export function whole(low: number, high: number): Fill {
  return (random) => low + Math.floor((high - low) * random.uniform());
}
/** These values over and over. */
export function cycle(values: readonly number[]): Fill {
  return (_random, index) => values[index % values.length]!;
}
/** These values, one each. */
export function given(values: ArrayLike<number>): Fill {
  return (_random, index) => values[index]!;
}

/** What surrounds arrays and fills the gaps between their elements. */
const CANARY = { f32: -123456.75, f16: -1234, i32: -0x5ca1ab1e, u32: 0xdeadbeef, u8: 0xa5 };
/** What an output holds before the kernel writes it: a kernel that leaves gaps shows it. */
const UNWRITTEN = { f32: NaN, f16: NaN, i32: 0x7badf00d, u32: 0x7badf00d, u8: 0x5a };
/** Elements after each array; with 64 before, outputs have guards of whole vectors both sides. */
const TAIL = 37;

/** An output of a case, with what its buffer held before. */
export interface Output {
  readonly name: string;
  readonly view: View;
  readonly tolerance: Tolerance | undefined;
  /** For each element of the buffer whether the view covers it. */
  readonly covered: Uint8Array;
  readonly canary: number;
}

/** An input of a case, with what its whole buffer holds. */
export interface Input {
  readonly view: View;
  readonly data: HostArray;
}

/** Makes the arrays of one case on one device. */
export class Fixture {
  readonly inputs: Input[] = [];
  readonly outputs: Output[] = [];
  readonly #backend: Backend;
  readonly #random: Random;
  readonly #lead: number;
  readonly #buffers: DeviceBuffer[] = [];

  constructor(
    backend: Backend,
    test: ConformanceCase,
    /** Without, arrays have their places and shapes only, and the device is never written to. */
    readonly filled: boolean = true,
  ) {
    this.#backend = backend;
    this.#random = new Random(`${test.kernel} ${test.name}`);
    this.#lead = test.lead;
  }

  /** The next numbers that `fill` gives, as float32, for inputs that depend on each other. */
  values(length: number, fill: Fill): Float32Array {
    if (!this.filled) return new Float32Array(length);
    return Float32Array.from({ length }, (_, i) => fill(this.#random, i));
  }

  /** An input with values from `fill`; NaN lies around and between its elements. */
  input(shape: Shape, fill: Fill = normal(), dtype: DType = "f32", layout?: MemoryLayout): View {
    const { view, data } = this.#make(shape, dtype, UNWRITTEN[dtype], fill, layout);
    this.inputs.push({ view, data });
    return view;
  }

  /** An output the kernel has to fill. */
  output(
    name: string,
    shape: Shape,
    dtype: DType = "f32",
    layout?: MemoryLayout,
    tolerance?: Tolerance,
  ): View {
    const canary = CANARY[dtype];
    const { view, covered } = this.#make(shape, dtype, canary, () => UNWRITTEN[dtype], layout);
    this.outputs.push({ name, tolerance, canary, view, covered });
    return view;
  }

  /** An array the kernel changes: it starts with values from `fill`. */
  changed(
    name: string,
    shape: Shape,
    fill: Fill,
    dtype: DType = "f32",
    layout?: MemoryLayout,
  ): View {
    const canary = CANARY[dtype];
    const { view, covered } = this.#make(shape, dtype, canary, fill, layout);
    this.outputs.push({ name, tolerance: undefined, canary, view, covered });
    return view;
  }

  /** Gives the memory back. */
  free(): void {
    for (const buffer of this.#buffers) this.#backend.free(buffer);
  }

  #make(
    shape: Shape,
    dtype: DType,
    around: number,
    fill: Fill,
    layout: MemoryLayout = { strides: contiguousStrides(shape) },
  ): { view: View; covered: Uint8Array; data: HostArray } {
    const { strides } = layout;
    const reach = 1 + shape.reduce((sum, d, i) => sum + (d - 1) * strides[i]!, layout.offset ?? 0);
    const length = this.#lead + Math.max(reach, layout.extent ?? 0) + TAIL;
    const buffer = this.#backend.alloc(length * DTYPE_BYTES[dtype], "conformance");
    this.#buffers.push(buffer);
    const offset = this.#lead + (layout.offset ?? 0);
    const view: View = { buffer, dtype, offset, shape, strides };
    checkView(view, "conformance");
    if (!this.filled) return { view, covered: new Uint8Array(0), data: hostArray(dtype, 0) };
    const data = hostArray(dtype, length).fill(around);
    const covered = new Uint8Array(length);
    let index = 0;
    for (const place of viewPlaces(view)) {
      data[place] = fill(this.#random, index++);
      covered[place] = 1;
    }
    this.#backend.write(buffer, 0, data);
    return { view, covered, data };
  }
}

/** The places of a view's elements in its buffer, row-major. */
export function viewPlaces({ offset, shape, strides }: View): Float64Array {
  let places = Float64Array.of(offset);
  for (let d = 0; d < shape.length; d++) {
    const next = new Float64Array(places.length * shape[d]!);
    for (let i = 0; i < next.length; i++) {
      next[i] = places[Math.floor(i / shape[d]!)]! + (i % shape[d]!) * strides[d]!;
    }
    places = next;
  }
  return places;
}

/** What can be said of a case beside its name and its arrays. */
export interface CaseOptions {
  readonly cost?: number;
  readonly half?: boolean;
  readonly tolerance?: Tolerance;
  readonly lead?: number;
}

/** A case of `kernel`, by default float32 at a scaled error of 1e-5, on 256-byte boundaries. */
export function conformanceCase<K extends KernelName>(
  kernel: K,
  name: string,
  options: CaseOptions,
  build: (fixture: Fixture) => KernelArgs[K],
): ConformanceCase {
  return {
    kernel,
    name,
    cost: options.cost ?? 1000,
    half: options.half ?? false,
    tolerance: options.tolerance ?? { scaled: 1e-5 },
    lead: options.lead ?? 64,
    build,
  };
}

/** Agreement to the last bit. */
export const EXACT: Tolerance = { scaled: 0 };
