/**
 * The product of f16 operands on a GPU's matrix units, with sums in f32: slices of both are staged in
 * workgroup memory as they lie, and subgroups multiply matrices of them. It covers x wT, g w and gT x,
 * as layers and their gradients need them, without transposing anything.
 */
import type { View } from "../../view.ts";
import { gpuBuffer } from "../device/pool.ts";
import type { ViewBinding } from "../shader/accessors.ts";
import { placeTile } from "../shader/tile_place.ts";
import { GAP, type MatrixTile, SUBGROUPS, VECTOR } from "./matrix_plan.ts";

/** An operand that is read by vectors of 8 along one of its two axes. */
export interface MatrixOperand {
  readonly name: "a" | "b";
  readonly binding: ViewBinding;
  /** Whether its vectors run down the depth rather than along the tile. */
  readonly deep: boolean;
}

/**
 * The operand `view` [outer, inner, .., ..] with `alongAxis` along the tile and `depthAxis` down its
 * depth; null where it cannot be read by vectors.
 */
export function matrixOperand(
  name: "a" | "b",
  view: View,
  alongAxis: 2 | 3,
  depthAxis: 2 | 3,
): MatrixOperand | null {
  if (view.dtype !== "f16") return null;
  const isUnit = (axis: 2 | 3) => view.strides[axis] === 1 && view.shape[axis]! > 1;
  const unit = isUnit(depthAxis) ? depthAxis : isUnit(alongAxis) ? alongAxis : null;
  if (unit === null || view.offset % VECTOR !== 0 || view.shape[unit]! % VECTOR !== 0) return null;
  for (let axis = 0; axis < 4; axis++) {
    const isFree = axis === unit || view.shape[axis] === 1;
    if (!isFree && view.strides[axis]! % VECTOR !== 0) return null;
  }
  return {
    name,
    binding: { name, view, access: "read", vec8: true },
    deep: unit === depthAxis,
  };
}

/** Whether nothing of what is read by vectors lies in a buffer that is written. */
export function liesApart(
  operands: readonly Pick<MatrixOperand, "binding">[],
  written: readonly (View | null)[],
): boolean {
  const blocks = written.map((view) => view && gpuBuffer(view.buffer).block);
  return operands.every(({ binding }) => !blocks.includes(gpuBuffer(binding.view.buffer).block));
}

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);
const lines = (list: readonly string[]): string => list.join("\n");

/** One operand of a tile, staged. */
class Side {
  /** Rows of the slice as they lie in memory, and elements between them. */
  readonly rows: number;
  readonly pitch: number;
  /** Vectors that a thread copies. */
  readonly vectors: number[];
  readonly name: string;

  constructor(readonly operand: MatrixOperand, readonly tile: MatrixTile) {
    const { deep, name } = operand;
    const length = deep ? tile.depth : this.along;
    this.name = name;
    this.rows = deep ? this.along : tile.depth;
    this.pitch = length + GAP;
    this.vectors = range(this.rows * length / VECTOR / tile.threads);
  }

  get along(): number {
    return this.operand.name === "a" ? this.tile.rows : this.tile.columns;
  }

  declare(): string {
    return `var<workgroup> ${this.name}Slice: array<f16, ${this.rows * this.pitch}>;`;
  }

  /** Where each vector of the thread is, in the operand and in the slice. */
  places(): string {
    const { name, operand: { deep }, pitch } = this;
    const [extent, origin] = name === "a" ? ["m", "row0"] : ["n", "column0"];
    const across = (pitch - GAP) / VECTOR;
    const step = (axis: "Row" | "Column") => `params.${name}${axis}`;
    // a [.., M, K], b [.., K, N]
    const alongStep = step(name === "a" ? "Row" : "Column");
    return lines([
      `  let ${name}Begin = outer * params.${name}Outer + inner * params.${name}Inner;`,
      ...this.vectors.flatMap((i) => {
        const row = `${name}Row${i}`;
        const part = `${name}Part${i}`;
        // What is beyond the operand is read as its last vectors: nothing of it is stored.
        const from = deep
          ? `min(${origin} + ${row}, params.${extent} - 1u) * ${alongStep} + ${part}`
          : `min(${origin} + ${part}, params.${extent} - ${VECTOR}u)`;
        return [
          `  let ${row} = (thread + ${i * this.tile.threads}u) / ${across}u;`,
          `  let ${part} = (thread + ${i * this.tile.threads}u) % ${across}u * ${VECTOR}u;`,
          `  let ${name}To${i} = ${row} * ${pitch}u + ${part};`,
          `  let ${name}From${i} = ${name}Begin + ${from};`,
        ];
      }),
    ]);
  }

  /** Reads the slice that begins at depth `k0` into registers; those from `kEnd` on as 0 if `ragged`. */
  fetch(declare: "var " | "", ragged: boolean): string {
    const { name, operand: { deep } } = this;
    const depthStep = `params.${name}${name === "a" ? "Column" : "Row"}`;
    return lines(this.vectors.map((i) => {
      const at = deep ? "k0" : `(k0 + ${name}Row${i}) * ${depthStep}`;
      const value = `${name}_load8(${name}From${i} + ${at})`;
      const k = `k0 + ${name}${deep ? "Part" : "Row"}${i}`;
      return `    ${declare}${name}V${i} = ${
        ragged ? `select(vec4u(), ${value}, ${k} < kEnd)` : value
      };`;
    }));
  }

  store(): string {
    const { name } = this;
    return lines(this.vectors.map((i) =>
      lines([
        "    {",
        `      let low = bitcast<vec4<f16>>(${name}V${i}.xy);`,
        `      let high = bitcast<vec4<f16>>(${name}V${i}.zw);`,
        ...["low", "high"].flatMap((half, h) =>
          ["x", "y", "z", "w"].map((c, e) =>
            `      ${name}Slice[${name}To${i} + ${h * 4 + e}u] = ${half}.${c};`
          )
        ),
        "    }",
      ])
    ));
  }

  /** A matrix of the slice: `along` is its first row or column in the tile, `k` its first depth. */
  load(along: string, k: number): string {
    const { name, pitch, operand: { deep }, tile: { unit } } = this;
    const [kind, size] = name === "a"
      ? ["left", `${unit.k}, ${unit.m}`]
      : ["right", `${unit.n}, ${unit.k}`];
    // Rows along the depth are those of the left operand, and columns of the right one.
    const order = deep === (name === "a") ? "row" : "col";
    const at = deep ? `(${along}) * ${pitch}u + ${k}u` : `${k * pitch}u + ${along}`;
    return `subgroupMatrixLoad<subgroup_matrix_${kind}<f16, ${size}>, ${order}_major>` +
      `(&${name}Slice, ${at}, ${pitch}u)`;
  }

  /** Element `k` of the row or column `along` of the slice. */
  element(along: string, k: number): string {
    const { name, pitch, operand: { deep } } = this;
    return `${name}Slice[${deep ? `${along} * ${pitch}u + ${k}u` : `${k * pitch}u + ${along}`}]`;
  }
}

/** What else the kernel does with its sums and its left operand. */
export interface MatrixKernel {
  readonly tile: MatrixTile;
  readonly a: MatrixOperand;
  readonly b: MatrixOperand;
  /** Whether depths are no multiple of the tile's. */
  readonly ragged: boolean;
  readonly splits: number;
  /** Statements that declare `outer` and `inner` of `batch`. */
  readonly locate: string;
  /** WGSL of `fn finish(batch: u32, row: u32, column: u32, sum: vec4f)`. */
  readonly finish: string;
  /** Whether `leftSums_store` takes the sums of a's rows over the depth. */
  readonly hasSums: boolean;
}

/** The shader of a product on matrix units. */
export function matrixProductSource(kernel: MatrixKernel): string {
  const { tile, ragged, splits, hasSums } = kernel;
  const { unit, matrices, rows, columns, depth, threads } = tile;
  const { m, n, subgroup } = unit;
  const [a, b] = [new Side(kernel.a, tile), new Side(kernel.b, tile)];
  const sides = [a, b];
  const rowOf = (i: number) => `down * ${matrices * m}u + ${i * m}u`;
  const columnOf = (j: number) => `across * ${matrices * n}u + ${j * n}u`;
  const sums = range(matrices).flatMap((i) => range(matrices).map((j) => [i, j] as const));
  const multiply = range(depth / unit.k).map((step) =>
    lines([
      "    {",
      ...range(matrices).map((i) => `      let l${i} = ${a.load(rowOf(i), step * unit.k)};`),
      ...range(matrices).flatMap((j) => [
        `      let r${j} = ${b.load(columnOf(j), step * unit.k)};`,
        ...range(matrices).map((i) =>
          `      sum${i}_${j} = subgroupMatrixMultiplyAccumulate(l${i}, r${j}, sum${i}_${j});`
        ),
      ]),
      "    }",
    ])
  );
  const batch = splits === 1 ? "batch" : "split * params.batches + batch";
  // The tiles of the first columns add up the rows of the left operand as they pass by.
  const summed = hasSums ? range(Math.ceil(rows / threads)) : [];
  const laneOf = (i: number) => `(thread + ${i * threads}u)`;
  const addRows = summed.map((i) =>
    `    if (column0 == 0u && ${laneOf(i)} < ${rows}u) {
      rowSum${i} += ${range(depth).map((k) => `f32(${a.element(laneOf(i), k)})`).join(" + ")};
    }`
  );
  const storeRows = summed.map((i) =>
    `  if (column0 == 0u && ${laneOf(i)} < ${rows}u && row0 + ${laneOf(i)} < params.m) {
    leftSums_store((${batch}) * params.m + row0 + ${laneOf(i)}, rowSum${i});
  }`
  );
  // Threads do not know which elements of a matrix they hold, so results go through memory.
  const stores = sums.map(([i, j]) =>
    lines([
      `  subgroupMatrixStore<row_major>(&corner, id * ${m * n}u, sum${i}_${j}, ${n}u);`,
      "  workgroupBarrier();",
      ...range(Math.ceil(m * n / 4 / subgroup)).map((part) =>
        `  if (lane + ${part * subgroup}u < ${m * n / 4}u) {
    let e = (lane + ${part * subgroup}u) * 4u;
    let at = id * ${m * n}u + e;
    finish(${batch}, row0 + ${rowOf(i)} + e / ${n}u, column0 + ${columnOf(j)} + e % ${n}u,
      vec4f(corner[at], corner[at + 1u], corner[at + 2u], corner[at + 3u]));
  }`
      ),
      "  workgroupBarrier();",
    ])
  );
  return lines([
    ...sides.map((side) => side.declare()),
    `var<workgroup> corner: array<f32, ${SUBGROUPS.down * SUBGROUPS.across * m * n}>;`,
    kernel.finish,
    `@compute @workgroup_size(${threads})`,
    "fn main(",
    "  @builtin(workgroup_id) workgroup: vec3u,",
    "  @builtin(local_invocation_index) thread: u32,",
    "  @builtin(subgroup_id) id: u32,",
    "  @builtin(subgroup_invocation_id) lane: u32,",
    ") {",
    "  let number = linear_group(workgroup);",
    "  if (number >= params.grid_count) { return; }",
    placeTile({ rows, columns }, splits),
    kernel.locate,
    `  let down = id / ${SUBGROUPS.across}u;`,
    `  let across = id % ${SUBGROUPS.across}u;`,
    ...sides.map((side) => side.places()),
    ...sums.map(([i, j]) => `  var sum${i}_${j}: subgroup_matrix_result<f32, ${n}, ${m}>;`),
    ...summed.map((i) => `  var rowSum${i} = 0.0;`),
    "  var k0 = kBegin;",
    ...sides.map((side) => side.fetch("var ", ragged)),
    `  for (var slice = kBegin; slice < kEnd; slice += ${depth}u) {`,
    ...sides.map((side) => side.store()),
    "    workgroupBarrier();",
    // The last slice is read twice: cheaper than a branch.
    `    k0 = select(slice, slice + ${depth}u, slice + ${depth}u < kEnd);`,
    ...sides.map((side) => side.fetch("", ragged)),
    ...addRows,
    ...multiply,
    "    workgroupBarrier();",
    "  }",
    ...stores,
    ...storeRows,
    "}",
  ]);
}
