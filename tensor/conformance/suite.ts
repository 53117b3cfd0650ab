/**
 * The test every device must pass: each kernel at awkward shapes, layouts and types, held to the
 * float64 reference. A device's own test runs all of `conformanceCases()` through
 * `runConformance()`. Arrays lie among canaries, outputs start as NaN, and every launch is made
 * twice to see that it repeats bit for bit.
 */
import type { Backend, KernelName, View } from "../backend.ts";
import { attentionCases } from "./cases_attention.ts";
import { convCases } from "./cases_conv.ts";
import { elementwiseCases } from "./cases_elementwise.ts";
import { programCases } from "./cases_programs.ts";
import { gatherCases } from "./cases_gather.ts";
import { matmulCases } from "./cases_matmul.ts";
import { normCases } from "./cases_norm.ts";
import { reduceCases } from "./cases_reduce.ts";
import { typeCases } from "./cases_types.ts";
import {
  casesOf,
  type CaseTable,
  type ConformanceCase,
  Fixture,
  type Tolerance,
  viewPlaces,
} from "./fixture.ts";
import type { DType, HostArray } from "../dtype.ts";
import { isFloat } from "../dtype.ts";
import { createReferenceBackend } from "../reference/backend.ts";

export type { ConformanceCase } from "./fixture.ts";

/** Which cases to take. */
export interface ConformanceOptions {
  /** Only this kernel's. */
  readonly kernel?: KernelName;
  /** Only those that take at most about this many multiplications. */
  readonly maxCost?: number;
  /** f16 cases only of these kernels; elementwise kernels always have theirs. */
  readonly halfKernels?: ReadonlySet<KernelName>;
}

/** All cases, or those that `options` ask for. */
export function conformanceCases(options: ConformanceOptions = {}): ConformanceCase[] {
  const { kernel, maxCost = Infinity, halfKernels } = options;
  const table: CaseTable = {
    ...casesOf(["elementwise"], [...elementwiseCases(), ...typeCases(), ...programCases()]),
    ...casesOf(["attention", "attentionGrad"], attentionCases()),
    ...casesOf(["conv2d", "conv2dGradWeight"], convCases()),
    ...casesOf(["gather", "scatterAdd"], gatherCases()),
    ...casesOf(["matmul"], matmulCases()),
    ...casesOf([
      "softmax",
      "softmaxGrad",
      "layerNorm",
      "layerNormGrad",
      "groupNorm",
      "groupNormGrad",
    ], normCases()),
    ...casesOf(["reduce", "argReduce", "cumsum"], reduceCases()),
  };
  const cases = kernel === undefined ? Object.values(table).flat() : table[kernel];
  return cases.filter((test) =>
    test.cost <= maxCost &&
    (!test.half || test.kernel === "elementwise" || !halfKernels || halfKernels.has(test.kernel))
  );
}

/** The whole buffer of one output after a launch, and which of its elements the output covers. */
interface Result {
  readonly name: string;
  readonly view: View;
  readonly tolerance: Tolerance;
  readonly covered: Uint8Array;
  readonly canary: number;
  readonly data: HostArray;
}

/** Starts a kernel; tests of a device may start it in a way of their own. */
export type Start = (run: () => void) => void;

async function launch(
  backend: Backend,
  test: ConformanceCase,
  start: Start = (run) => run(),
): Promise<Result[]> {
  const fixture = new Fixture(backend, test);
  try {
    const args = test.build(fixture);
    start(() => backend.run(test.kernel, args, `conformance ${test.kernel}`));
    return await Promise.all(fixture.outputs.map(async (output): Promise<Result> => {
      const { buffer, dtype } = output.view;
      const data = await backend.read(buffer, dtype, 0, output.covered.length);
      return { ...output, tolerance: output.tolerance ?? test.tolerance, data };
    }));
  } finally {
    fixture.free();
  }
}

/**
 * Runs a case on `backend` and on the reference. Throws where an output disagrees, where an
 * element outside the outputs changed, or where a second launch, made by `startAgain`, gives other
 * bits.
 */
export async function runConformance(
  backend: Backend,
  test: ConformanceCase,
  startAgain?: Start,
): Promise<void> {
  // The launches before the reference, which takes its time while a GPU computes.
  const launches = [launch(backend, test), launch(backend, test, startAgain)] as const;
  const want = await launch(createReferenceBackend(), test);
  const [got, again] = await Promise.all(launches);
  for (let i = 0; i < want.length; i++) {
    checkGuards(test, got[i]!);
    checkValues(test, got[i]!, want[i]!);
    checkSame(test, got[i]!, again[i]!);
  }
}

function fail(test: ConformanceCase, output: string, problem: string): never {
  throw new Error(`${test.kernel}: ${test.name}: ${output} ${problem}`);
}

function checkGuards(test: ConformanceCase, { name, data, covered, canary }: Result): void {
  for (let i = 0; i < data.length; i++) {
    if (!covered[i] && data[i] !== canary) {
      const first = covered.indexOf(1);
      fail(
        test,
        name,
        `changed an element that is not its own: ${i - first} from its first element ` +
          `(${covered.lastIndexOf(1) - first} is its last), now ${data[i]}`,
      );
    }
  }
}

/** `value` as `dtype` stores it. */
function stored(value: number, dtype: DType): number {
  return dtype === "f32" ? Math.fround(value) : dtype === "f16" ? Math.f16round(value) : value;
}

/** The error of an element that must not be there at all, such as a NaN or the wrong infinity. */
function isDifferentKind(got: number, want: number): boolean {
  if (Number.isFinite(got) && Number.isFinite(want)) return false;
  return !Object.is(got, want);
}

function checkValues(test: ConformanceCase, got: Result, want: Result): void {
  const { dtype } = got.view;
  const { relative, absolute = 0 } = got.tolerance;
  const limit = !isFloat(dtype) ? 0 : relative ?? got.tolerance.scaled ?? 0;
  const places = viewPlaces(got.view);
  let largest = 0;
  for (const place of places) {
    const size = Math.abs(stored(want.data[place]!, dtype));
    if (Number.isFinite(size)) largest = Math.max(largest, size);
  }
  let worst = -1;
  let worstError = 0;
  for (let i = 0; i < places.length; i++) {
    const g = stored(got.data[places[i]!]!, dtype);
    const w = stored(want.data[places[i]!]!, dtype);
    const difference = Math.abs(g - w);
    let error = 0;
    if (isDifferentKind(g, w)) error = Infinity;
    else if (difference > 0 && relative === undefined) error = difference / (largest || 1);
    else if (difference > absolute) error = difference / Math.abs(w);
    if (error > worstError) {
      worstError = error;
      worst = i;
    }
  }
  if (worstError > limit) {
    const measure = relative === undefined ? "scaled" : "relative";
    fail(
      test,
      got.name,
      `has a ${measure} error of ${worstError.toExponential(2)}, over ${limit}, at element ` +
        `[${coordinates(worst, got.view.shape).join(", ")}] of [${got.view.shape.join(", ")}]: ` +
        `expected ${stored(want.data[places[worst]!]!, dtype)} but got ${got.data[places[worst]!]}`,
    );
  }
}

function checkSame(test: ConformanceCase, first: Result, second: Result): void {
  for (let i = 0; i < first.data.length; i++) {
    if (!Object.is(first.data[i], second.data[i])) {
      fail(test, first.name, `differs between two runs: ${first.data[i]} and ${second.data[i]}`);
    }
  }
}

function coordinates(index: number, shape: readonly number[]): number[] {
  const at: number[] = [];
  for (let d = shape.length - 1; d >= 0; d--) {
    at.unshift(index % shape[d]!);
    index = Math.floor(index / shape[d]!);
  }
  return at;
}
