/**
 * Reductions of the middle axis of [O, R, I]. A workgroup takes a tile of `columns` outputs and
 * gives each of them `rows` threads, which walk the axis in steps of `rows` and meet in a tree. A
 * long axis with few outputs is split among workgroups, whose results are reduced once more.
 *
 * Tile and splits, and so the order of additions, depend on the shape only. No thread adds more
 * than 64 numbers one by one to one sum.
 */
import type { KernelArgs } from "../../kernels.ts";
import type { View } from "../../view.ts";
import { type Program, program } from "../../expr.ts";
import type { ViewBinding } from "../shader/accessors.ts";
import type { WebGpuRuntime } from "../device/runtime.ts";
import { literal, PRELUDE, programSource, scalarUniforms } from "../shader/wgsl.ts";
import { needChunks, slice } from "../device/chunks.ts";
import { enoughGroups } from "./sum_parts.ts";

type Op = KernelArgs["reduce"]["op"];
type Shape3 = readonly [number, number, number];

const WORKGROUP = 256;
/** Rows a thread should at least have before an axis is split. */
const ROWS_A_THREAD = 32;

/** How a workgroup's threads are spread; `columns * rows` is its size. */
export interface Tile {
  readonly columns: number;
  readonly rows: number;
}

/** The tile for [O, R, I]: wide enough for whole cache lines, then as high as the axis needs. */
export function tileOf(R: number, I: number): Tile {
  const columns = Math.min(32, powerAbove(I));
  const rows = Math.min(WORKGROUP / columns, powerBelow(Math.max(1, R / 4)));
  return { columns: WORKGROUP / rows, rows };
}

function powerAbove(n: number): number {
  return 2 ** Math.ceil(Math.log2(n));
}

function powerBelow(n: number): number {
  return 2 ** Math.floor(Math.log2(n));
}

/**
 * WGSL that names a thread's place in its tile: `row` and `column`. Neighbouring threads take
 * neighbouring elements in memory: along the axis where `alongRows`.
 */
export function tilePlace({ columns, rows }: Tile, alongRows: boolean): string {
  return alongRows
    ? `let row = lane % ${rows}u; let column = lane / ${rows}u;`
    : `let row = lane / ${columns}u; let column = lane % ${columns}u;`;
}

/** Distance in a tile's shared memory from a thread to the one of the next row. */
export function rowStep({ columns }: Tile, alongRows: boolean): number {
  return alongRows ? 1 : columns;
}

/** Whether the axis, not the outputs, lies closest in memory. */
export function liesAlongRows(views: readonly View[]): boolean {
  const [, R, I] = views[0]!.shape as Shape3;
  return I === 1 || (R > 1 && views.some((v) => v.strides[1] === 1 && v.strides[2]! > 1));
}

export function reduce(
  runtime: WebGpuRuntime,
  args: KernelArgs["reduce"],
  name: string,
): void {
  reduceInParts(runtime, args, name, 0);
}

/** Reduces arrays that can be bound; `base` is the row-major index of their first element. */
function reduceFrom(
  runtime: WebGpuRuntime,
  args: KernelArgs["reduce"],
  name: string,
  base: number,
): void {
  const [O, R, I] = args.ins[0]!.shape as Shape3;
  const outputs = O * I;
  const tile = tileOf(R, I);
  const tiles = Math.ceil(outputs / tile.columns);
  const splits = Math.max(
    1,
    Math.min(
      Math.floor(enoughGroups(runtime.traits) / tiles),
      Math.floor(R / (tile.rows * ROWS_A_THREAD)),
    ),
  );
  if (splits === 1) return launch(runtime, args, name, base, tile, 1);
  const partial = temporary(runtime, splits, outputs, name);
  launch(runtime, { ...args, out: partial }, name, base, tile, splits);
  reducePartial(runtime, args.op, partial, args.out, name);
}

/** [1, parts, outputs] f32 in fresh memory. */
function temporary(runtime: WebGpuRuntime, parts: number, outputs: number, name: string): View {
  return {
    buffer: runtime.alloc(parts * outputs * 4, name),
    dtype: "f32",
    offset: 0,
    shape: [1, parts, outputs],
    strides: [parts * outputs, outputs, 1],
  };
}

/** Reduces [1, parts, outputs] into `out` and frees it: commands run in order. */
function reducePartial(
  runtime: WebGpuRuntime,
  op: Op,
  partial: View,
  out: View,
  name: string,
): void {
  reduceFrom(runtime, { op, program: ITSELF, ins: [partial], scalars: [], out }, name, 0);
  runtime.free(partial.buffer);
}

const ITSELF = program("itself", [{ kind: "input", ty: "f32" }], (x) => x);

/** Halves [O, R, I] along O, or else along R, until each part can be bound. */
function reduceInParts(
  runtime: WebGpuRuntime,
  args: KernelArgs["reduce"],
  name: string,
  base: number,
): void {
  const { ins, out } = args;
  const [O, R, I] = ins[0]!.shape as Shape3;
  if (!needChunks(runtime, [...ins, out]) || (O === 1 && R === 1)) {
    return reduceFrom(runtime, args, name, base);
  }
  const axis = O > 1 ? 0 : 1;
  const length = axis === 0 ? O : R;
  const half = Math.ceil(length / 2);
  const step = axis === 0 ? R * I : I;
  const partial = axis === 0 ? null : temporary(runtime, 2, I, name);
  for (const [part, from, to] of [[0, 0, half], [1, half, length]] as const) {
    const target = partial ? slice(partial, 1, part, part + 1) : slice(out, 0, from, to);
    const halves = ins.map((v) => slice(v, axis, from, to));
    reduceInParts(runtime, { ...args, ins: halves, out: target }, name, base + from * step);
  }
  if (partial) reducePartial(runtime, args.op, partial, out, name);
}

const IN_NAMES = Array.from({ length: 12 }, (_, i) => `in${i}`);

/** Reduces each of `splits` pieces of the axis; out is [splits, outputs]. */
function launch(
  runtime: WebGpuRuntime,
  { op, program, ins, scalars, out }: KernelArgs["reduce"],
  name: string,
  base: number,
  tile: Tile,
  splits: number,
): void {
  const [O, R, I] = ins[0]!.shape as Shape3;
  const outputs = O * I;
  const alongRows = liesAlongRows(ins);
  const bindings = ins.map((view, k): ViewBinding => ({
    name: IN_NAMES[k]!,
    view,
    access: "read",
  }));
  bindings.push({ name: "out", view: out, access: "write" });
  const uniforms = scalarUniforms(program, scalars);
  const { u32 } = uniforms;
  u32.R = R;
  u32.I = I;
  u32.outputs = outputs;
  u32.splits = splits;
  u32.chunk = Math.ceil(R / splits);
  u32.base = base;
  for (let k = 0; k < ins.length; k++) {
    for (let d = 0; d < 3; d++) u32[`${IN_NAMES[k]!}_${d}`] = ins[k]!.strides[d]!;
  }
  runtime.dispatch({
    op: name,
    key: `reduce ${op} ${tile.rows} ${alongRows} ${program.key}`,
    source: () => source(op, program, tile, alongRows),
    views: bindings,
    ...uniforms,
    workgroups: Math.ceil(outputs / tile.columns) * splits,
  });
}

const START: { readonly [K in Op]: string } = {
  sum: literal(0, "f32"),
  max: literal(-Infinity, "f32"),
  min: literal(Infinity, "f32"),
};
const COMBINE: { readonly [K in Op]: string } = {
  sum: "a + b",
  max: "max_nan(a, b)",
  min: "min_nan(a, b)",
};

function source(op: Op, program: Program, tile: Tile, alongRows: boolean): string {
  const { rows, columns } = tile;
  const step = rowStep(tile, alongRows);
  const values = program.inputs.map((_, k) => {
    const name = IN_NAMES[k]!;
    return `${name}_load(o * params.${name}_0 + r * params.${name}_1 + i * params.${name}_2)`;
  });
  const args = ["params.base + (o * params.R + r) * params.I + i", ...values].join(",\n    ");
  return `${PRELUDE}${programSource(program)}
const ROWS = ${rows}u;
fn combine(a: f32, b: f32) -> f32 { return ${COMBINE[op]}; }
fn value(o: u32, r: u32, i: u32) -> f32 {
  return compute(${args}).o0;
}
${rows > 1 ? `var<workgroup> sums: array<f32, ${WORKGROUP}>;` : ""}

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(local_invocation_index) lane: u32) {
  let group = linear_group(id);
  if (group >= params.grid_count) { return; }
  let split = group % params.splits;
  ${tilePlace(tile, alongRows)}
  let output = group / params.splits * ${columns}u + column;
  let o = output / params.I;
  let i = output % params.I;
  var total = ${START[op]};
  if (output < params.outputs) {
    let end = min(params.R, (split + 1u) * params.chunk);
    var r = split * params.chunk + row;
    // Four sums side by side, added to the total after 16 rounds: small errors, short waits.
    while (r + 3u * ROWS < end) {
      var s0 = ${START[op]}; var s1 = s0; var s2 = s0; var s3 = s0;
      for (var round = 0u; round < 16u && r + 3u * ROWS < end; round++) {
        s0 = combine(s0, value(o, r, i));
        s1 = combine(s1, value(o, r + ROWS, i));
        s2 = combine(s2, value(o, r + 2u * ROWS, i));
        s3 = combine(s3, value(o, r + 3u * ROWS, i));
        r += 4u * ROWS;
      }
      total = combine(total, combine(combine(s0, s1), combine(s2, s3)));
    }
    for (; r < end; r += ROWS) { total = combine(total, value(o, r, i)); }
  }
${
    rows === 1 ? "" : `  sums[lane] = total;
  for (var half = ROWS / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (row < half) {
      sums[lane] = combine(sums[lane], sums[lane + half * ${step}u]);
    }
  }
  total = sums[lane];
`
  }  if (row == 0u && output < params.outputs) {
    out_store(split * params.outputs + output, total);
  }
}
`;
}
