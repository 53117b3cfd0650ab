/**
 * The test every device must pass: each kernel at awkward shapes, layouts and types, held to the
 * float64 reference. A device's own test runs all of `conformanceCases()` through
 * `runConformance()`. Arrays lie among canaries, outputs start as NaN, and every launch is made
 * twice to see that it repeats bit for bit.
 */
import { arraysOf } from "../arguments.ts";
import type { Backend } from "../backend.ts";
import type { KernelArgs, KernelName } from "../kernels.ts";
import type { View } from "../view.ts";
import { attentionCases } from "./cases_attention.ts";
import { convCases } from "./cases_conv.ts";
import { elementwiseCases } from "./cases_elementwise.ts";
import { programCases } from "./cases_programs.ts";
import { gatherCases } from "./cases_gather.ts";
import { matmulCases } from "./cases_matmul.ts";
import { normCases } from "./cases_norm.ts";
import { reduceCases } from "./cases_reduce.ts";
import { rotaryCases } from "./cases_rotary.ts";
import { typeCases } from "./cases_types.ts";
import {
  casesOf,
  type CaseTable,
  type ConformanceCase,
  Fixture,
  type Input,
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
      "gateGrad",
      "groupNorm",
      "groupNormGrad",
    ], normCases()),
    ...casesOf(["rotary"], rotaryCases()),
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

/** Runs a case; checks its inputs too where they must be unchanged. */
async function launch(
  backend: Backend,
  test: ConformanceCase,
  checked: boolean,
  start: Start = (run) => run(),
): Promise<Result[]> {
  const fixture = new Fixture(backend, test);
  try {
    const args = test.build(fixture);
    checkUses(test, args, fixture);
    start(() => backend.run(test.kernel, args, `conformance ${test.kernel}`));
    const read = ({ buffer, dtype }: View, length: number) =>
      backend.read(buffer, dtype, 0, length);
    // All at once: waiting for a GPU takes longer than reading.
    const [inputs, outputs] = await Promise.all([
      Promise.all(checked ? fixture.inputs.map(({ view, data }) => read(view, data.length)) : []),
      Promise.all(fixture.outputs.map(({ view, covered }) => read(view, covered.length))),
    ]);
    inputs.forEach((data, i) => checkInput(test, `input ${i}`, data, fixture.inputs[i]!));
    return outputs.map((data, i) => {
      const output = fixture.outputs[i]!;
      return { ...output, tolerance: output.tolerance ?? test.tolerance, data };
    });
  } finally {
    fixture.free();
  }
}

/**
 * Runs a case on `backend` and on the reference. Throws where an output disagrees, where an
 * element outside the outputs changed, or where a second launch, made by `startAgain`, gives other
 * bits; and where the case does not read and write what the kernel's descriptor says.
 */
export async function runConformance(
  backend: Backend,
  test: ConformanceCase,
  startAgain?: Start,
): Promise<void> {
  const [got, again, want] = await Promise.all([
    launch(backend, test, true),
    launch(backend, test, false, startAgain),
    launch(createReferenceBackend(), test, false), // last: it takes its time while a GPU computes
  ]);
  for (let i = 0; i < want.length; i++) {
    checkGuards(test, got[i]!);
    checkValues(test, got[i]!, want[i]!);
    checkSame(test, got[i]!, again[i]!);
  }
}

function fail(test: ConformanceCase, output: string, problem: string): never {
  throw new Error(`${test.kernel}: ${test.name}: ${output} ${problem}`);
}

/** Throws where the kernel's descriptor calls an array that the case fills an output, or the reverse. */
function checkUses(
  test: ConformanceCase,
  args: KernelArgs[KernelName],
  { inputs, outputs }: Fixture,
): void {
  const made = (list: readonly { readonly view: View }[], view: View): boolean =>
    list.some((each) => each.view.buffer === view.buffer);
  for (const { name, use, view } of arraysOf(test.kernel, args)) {
    if (use === "read" ? made(inputs, view) || made(outputs, view) : made(outputs, view)) continue;
    fail(test, name, `is one of what the kernel is to ${use}, but the case does not make it so`);
  }
  const written = arraysOf(test.kernel, args).filter(({ use }) => use !== "read");
  for (const { name, view } of outputs) {
    if (!made(written, view)) fail(test, name, "is an output of the case but not of the kernel");
  }
}

/** Throws where the kernel changed what it only reads. */
function checkInput(test: ConformanceCase, name: string, found: HostArray, { data }: Input): void {
  for (let i = 0; i < data.length; i++) {
    if (!Object.is(data[i], found[i])) {
      fail(test, name, `changed from ${data[i]} to ${found[i]} at element ${i}`);
    }
  }
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
