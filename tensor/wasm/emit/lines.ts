/**
 * Kernels that go through the middle axis of [O, R, I] in order, four lines at a time, one in each
 * lane: positions of extremes and running sums.
 */
import type { View } from "../../view.ts";
import { claimChunks, kernel, slotI32, slotI64 } from "./abi.ts";
import { type AccessContext, loadStrided, loadUnit } from "./access.ts";
import { type Func, I32, I64, Module } from "./assembler.ts";
import type { WasmRuntime } from "../device/runtime.ts";
import { Constants, Temporaries } from "./vector_math.ts";

/** Elements that a thread claims at least. */
const CLAIM = 8192;

/** Four lines while code for them is made. */
export interface FourLines {
  readonly context: AccessContext;
  /** i32 local: how many of the four exist, if fewer than four; 4 or more otherwise. */
  readonly lines: number;
  /** i64 local with the axis' length. */
  readonly length: number;
  /** i64 local with the output's address at the lines' beginning. */
  readonly out: number;
  /** i64 local with the output's step from line to line, in bytes; undefined where it is 4. */
  readonly outStep: number | undefined;
  /** i64 local with the output's step along the axis, in bytes. */
  readonly outStride: number;
  /**
   * Emits a loop along the axis; `body` gets the local of the lines' elements.
   */
  each(body: (value: number) => void): void;
}

// Argument slots.
const CLAIMS = 0, TASKS = 1, GROUP = 2, ACROSS = 3, LINES = 4, LENGTH = 5;
const X = 6, X_OUTER = 7, X_STEP = 8, X_STRIDE = 9;
const OUT = 10, OUT_OUTER = 11, OUT_STEP = 12, OUT_STRIDE = 13;

/**
 * Runs over all lines of `x`.
 *
 * @param name of the code that `emit` makes
 * @param outStrides the output's strides in elements of 4 bytes for O, R and I
 * @param backwards whether to walk from the axis' end
 */
export function runLines(
  runtime: WasmRuntime,
  name: string,
  x: View,
  out: View,
  outStrides: readonly [number, number, number],
  backwards: boolean,
  emit: (lines: FourLines) => void,
): void {
  const [O, R, I] = x.shape as [number, number, number];
  // Lanes go along I, or along O where I is too short to fill them.
  const alongI = I >= 4 || O === 1;
  const [outer, lines] = alongI ? [O, I] : [I, O];
  const [outerAxis, lineAxis] = alongI ? [0, 2] : [2, 0];
  const unitX = x.strides[lineAxis] === 1, unitOut = outStrides[lineAxis] === 1;
  const run = runtime.load(
    `${name} ${unitX ? "unit" : "strided"} ${unitOut ? "unit" : "strided"}`,
    () => build(unitX, unitOut, emit),
  );
  const across = Math.ceil(lines / 4);
  const tasks = outer * across;
  const group = Math.max(1, Math.floor(CLAIM / (4 * R)));
  const claims = Math.ceil(tasks / group);
  const bytes = (stride: number) => stride * 4;
  const direction = backwards ? -1 : 1;
  const last = backwards ? R - 1 : 0;
  runtime.launch(run("run"), [
    claims,
    tasks,
    group,
    across,
    lines,
    R,
    runtime.address(x) + bytes(last * x.strides[1]!),
    bytes(x.strides[outerAxis]!),
    bytes(x.strides[lineAxis]!),
    bytes(direction * x.strides[1]!),
    runtime.address(out) + bytes(last * outStrides[1]),
    bytes(outStrides[outerAxis]!),
    bytes(outStrides[lineAxis]!),
    bytes(direction * outStrides[1]),
  ], { threads: Math.min(claims, runtime.threadsFor(O * R * I)) });
}

function build(
  unitX: boolean,
  unitOut: boolean,
  emit: (lines: FourLines) => void,
): Module {
  const module = new Module();
  const f = module.add(kernel("run"));
  const context: AccessContext = {
    f,
    constants: new Constants(f),
    temporaries: new Temporaries(f),
    half: false,
  };
  const claims = slotI32(f, CLAIMS), tasks = slotI64(f, TASKS), group = slotI64(f, GROUP);
  const across = slotI64(f, ACROSS), lineCount = slotI64(f, LINES), length = slotI64(f, LENGTH);
  const x = slotI64(f, X), xOuter = slotI64(f, X_OUTER);
  const xStep = slotI64(f, X_STEP), xStride = slotI64(f, X_STRIDE);
  const out = slotI64(f, OUT), outOuter = slotI64(f, OUT_OUTER);
  const outStep = slotI64(f, OUT_STEP), outStride = slotI64(f, OUT_STRIDE);
  const task = f.local(I64), taskEnd = f.local(I64), line = f.local(I64), outer = f.local(I64);
  const lines = f.local(I32), from = f.local(I64), to = f.local(I64), r = f.local(I64);

  claimChunks(f, claims, (claim) => {
    f.get(claim).i64("extend_i32_u").get(group).i64("mul").tee(task).get(group).i64("add");
    f.set(taskEnd);
    f.get(tasks).get(taskEnd).get(tasks).get(taskEnd).i64("lt_s").select().set(taskEnd);
    f.for64(task, taskEnd, 1, () => {
      f.get(task).get(across).i64("div_u").set(outer);
      f.get(task).get(across).i64("rem_u").i64const(4).i64("mul").set(line);
      f.get(lineCount).get(line).i64("sub").i32("wrap_i64").set(lines);
      address(f, x, outer, xOuter, line, xStep, from);
      address(f, out, outer, outOuter, line, outStep, to);
      emit({
        context,
        lines,
        length,
        out: to,
        outStep: unitOut ? undefined : outStep,
        outStride,
        each: (body) => {
          f.i64const(0).set(r);
          f.for64(r, length, 1, () => {
            body(
              unitX
                ? loadUnit(context, "f32", from, 0)
                : loadStrided(context, "f32", from, xStep, lines),
            );
            f.get(from).get(xStride).i64("add").set(from);
            context.temporaries.releaseAll();
          });
        },
      });
    });
  });
  return module;
}

/** target = base + outer * outerStride + line * step, all i64 locals. */
function address(
  f: Func,
  base: number,
  outer: number,
  outerStride: number,
  line: number,
  step: number,
  target: number,
): void {
  f.get(base).get(outer).get(outerStride).i64("mul").i64("add");
  f.get(line).get(step).i64("mul").i64("add").set(target);
}
