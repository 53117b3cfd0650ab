/**
 * Elementwise kernels. The shader depends on the program and on the class of the layout (rank, and
 * how each array is stepped through); shapes and strides are uniforms.
 *
 * Where every output allows it, a thread computes 4 neighbours of the innermost dimension and stores
 * them as a vec4; else it computes one element.
 */
import type { KernelArgs } from "../../kernels.ts";
import type { View } from "../../view.ts";
import type { Program } from "../../expr.ts";
import { collapse, isContiguous, sizeOf } from "../../shape.ts";
import type { ViewBinding } from "../shader/accessors.ts";
import type { WebGpuRuntime } from "../device/runtime.ts";
import { needChunks, slice } from "../device/chunks.ts";
import { outType, PRELUDE, programSource, scalarUniforms } from "../shader/wgsl.ts";

/**
 * How a view is stepped through:
 * - `linear`: element e of the output is element e of the view
 * - `row`: unit stride along the innermost dimension, any multiple of 4 along the others
 * - `repeat`: stride 0 along the innermost dimension
 * - `strided`: anything else
 */
type Step = "linear" | "row" | "repeat" | "strided";

/** All that the source of one kernel depends on. */
interface Layout {
  readonly program: Program;
  readonly rank: number;
  readonly ins: readonly Step[];
  readonly outs: readonly Step[];
  readonly byVec4: boolean;
  /** Whether the last thread has less than 4 elements. */
  readonly tail: boolean;
}

const WORKGROUP = 256;

export function elementwise(
  runtime: WebGpuRuntime,
  { program, ins, outs, scalars }: KernelArgs["elementwise"],
  op: string,
): void {
  launch(runtime, program, ins, outs, scalars, op, 0);
}

/** `base` is the row-major index of the views' first element in the whole output. */
function launch(
  runtime: WebGpuRuntime,
  program: Program,
  ins: readonly View[],
  outs: readonly View[],
  scalars: readonly number[],
  op: string,
  base: number,
): void {
  const { shape } = outs[0]!;
  if (needChunks(runtime, [...ins, ...outs])) {
    // In halves along the outermost dimension, until each can be bound.
    const axis = shape.findIndex((d) => d > 1);
    if (axis >= 0) {
      const half = Math.ceil(shape[axis]! / 2);
      const inner = sizeOf(shape) / shape[axis]!;
      for (const [from, to] of [[0, half], [half, shape[axis]!]] as const) {
        const part = (v: View): View => slice(v, axis, from, to);
        launch(
          runtime,
          program,
          ins.map(part),
          outs.map(part),
          scalars,
          op,
          base + from * inner,
        );
      }
      return;
    }
  }

  const views = [...ins, ...outs];
  const flat = views.every((v) => isContiguous(v.shape, v.strides));
  const n = sizeOf(shape);
  const { shape: dims, strides } = flat
    ? { shape: [n], strides: views.map(() => [1]) }
    : collapse(shape, views.map((v) => v.strides));
  const rank = dims.length;
  const inner = dims[rank - 1]!;
  const byVec4 = (rank === 1 || inner % 4 === 0) &&
    outs.every((v, k) => fits4(v, strides[ins.length + k]!));

  const steps = views.map((v, k) => stepOf(dims, v, strides[k]!, byVec4));
  const layout: Layout = {
    program,
    rank,
    ins: steps.slice(0, ins.length),
    outs: steps.slice(ins.length),
    byVec4,
    tail: byVec4 && n % 4 !== 0,
  };
  const bindings = views.map((view, k): ViewBinding => {
    const step = steps[k]!;
    const vec4 = byVec4 && (step === "linear" || step === "row");
    return k < ins.length ? { name: inputName(k), view, access: "read", vec4 } : {
      name: outputName(k - ins.length),
      view,
      access: layout.tail ? "readwrite" : "write",
      vec4,
    };
  });
  const uniforms = scalarUniforms(program, scalars);
  uniforms.u32.n = n;
  uniforms.u32.base = base;
  for (let d = 1; d < rank; d++) uniforms.u32[`d${d}`] = dims[d]!;
  for (let k = 0; k < views.length; k++) {
    if (steps[k] === "linear") continue;
    for (let d = 0; d < rank; d++) uniforms.u32[`${bindings[k]!.name}_${d}`] = strides[k]![d]!;
  }
  const threads = byVec4 ? Math.ceil(n / 4) : n;
  runtime.dispatch({
    op,
    key: `elementwise ${program.key} ${byVec4 ? 4 : 1}${
      layout.tail ? "t" : ""
    } ${rank} ${steps.join()}`,
    source: () => source(layout),
    views: bindings,
    ...uniforms,
    workgroups: Math.ceil(threads / WORKGROUP),
  });
}

const INPUT_NAMES = Array.from({ length: 16 }, (_, i) => `in${i}`);
const OUTPUT_NAMES = Array.from({ length: 16 }, (_, i) => `out${i}`);

function inputName(i: number): string {
  return INPUT_NAMES[i] ?? `in${i}`;
}

function outputName(k: number): string {
  return OUTPUT_NAMES[k] ?? `out${k}`;
}

/** Whether 4 neighbours of the innermost dimension always lie in one aligned group. */
function fits4(view: View, strides: readonly number[]): boolean {
  const last = strides.length - 1;
  return view.offset % 4 === 0 && strides[last] === 1 &&
    strides.every((s, d) => d === last || s % 4 === 0);
}

function stepOf(
  dims: readonly number[],
  view: View,
  strides: readonly number[],
  byVec4: boolean,
): Step {
  const aligned = !byVec4 || fits4(view, strides);
  if (aligned && isContiguous(dims, strides)) return "linear";
  if (strides[strides.length - 1] === 0) return "repeat";
  return byVec4 && aligned ? "row" : "strided";
}

/** WGSL of `name`'s element index at coordinates c0, c1, ... (leaving out a stride of 0). */
function address(name: string, step: Step, rank: number): string {
  if (step === "linear") return "e";
  const terms = [];
  for (let d = 0; d < (step === "repeat" ? rank - 1 : rank); d++) {
    const unit = step === "row" && d === rank - 1;
    terms.push(unit ? `c${d}` : `c${d} * params.${name}_${d}`);
  }
  return terms.join(" + ") || "0u";
}

function source(layout: Layout): string {
  const { program, rank, ins, outs, byVec4 } = layout;
  const body: string[] = [];
  const line = (text: string): void => {
    body.push(`  ${text}`);
  };
  const linear = [...ins, ...outs].every((step) => step === "linear");
  if (!linear) {
    for (let d = rank - 1; d >= 1; d--) {
      const rest = d === rank - 1 ? "e" : `q${d + 1}`;
      line(`let q${d} = ${rest} / params.d${d}; let c${d} = ${rest} - q${d} * params.d${d};`);
    }
    line(`let c0 = ${rank === 1 ? "e" : "q1"};`);
  }
  ins.forEach((step, i) => {
    const name = inputName(i);
    const at = address(name, step, rank);
    if (!byVec4 || step === "repeat") {
      line(`let x${i} = ${name}_load(${at});`);
    } else if (step === "strided") {
      line(`let a${i} = ${at}; let s${i} = params.${name}_${rank - 1};`);
      const loads = [0, 1, 2, 3].map((lane) => `${name}_load(a${i} + ${lane}u * s${i})`);
      line(`let x${i} = vec4(${loads.join(", ")});`);
    } else {
      line(`let x${i} = ${name}_load4(${at});`);
    }
  });
  const argument = (i: number, lane: string): string =>
    byVec4 && ins[i] !== "repeat" ? `x${i}.${lane}` : `x${i}`;
  const call = (lane: string, plus: number): string => {
    const args = [
      `params.base + e${plus ? ` + ${plus}u` : ""}`,
      ...ins.map((_, i) => argument(i, lane)),
    ];
    return `let r${lane} = compute(${args.join(", ")});`;
  };
  const lanes = byVec4 ? ["x", "y", "z", "w"] : ["x"];
  lanes.forEach((lane, plus) => line(call(lane, plus)));
  outs.forEach((step, k) => {
    const name = outputName(k);
    const at = address(name, step, rank);
    if (!byVec4) {
      line(`${name}_store(${at}, rx.o${k});`);
      return;
    }
    const ty = outType(program, k);
    line(`var v${k} = vec4<${ty}>(${lanes.map((lane) => `r${lane}.o${k}`).join(", ")});`);
    if (layout.tail) line(`if (short) { v${k} = select(${name}_load4(${at}), v${k}, mine); }`);
    line(`${name}_store4(${at}, v${k});`);
  });

  const step = byVec4 ? " * 4u" : "";
  const head = [
    "  let e = (linear_group(group) * 256u + lane)" + step + ";",
    "  if (e >= params.n) { return; }",
  ];
  if (layout.tail) {
    // The whole group is rewritten; what lies beyond the array keeps its value.
    head.push("  let short = e + 4u > params.n;");
    head.push("  let mine = vec4u(0u, 1u, 2u, 3u) < vec4u(params.n - e);");
  }
  return `${PRELUDE}${programSource(program)}
@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
${[...head, ...body].join("\n")}
}
`;
}
