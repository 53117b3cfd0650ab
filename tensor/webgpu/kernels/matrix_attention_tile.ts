/**
 * What attention's kernels on matrix units share: each subgroup has rows of its own, which stay in
 * registers as matrices of f16, while tiles of the other operands pass by in workgroup memory. Threads
 * do not know which elements of a matrix they hold, so scores go through workgroup memory.
 */
import type { View } from "../../view.ts";
import type { MatrixUnit } from "../device/matrices.ts";
import type { GpuTraits } from "../device/traits.ts";
import type { ViewBinding } from "../shader/accessors.ts";
import { GAP, VECTOR } from "./matrix_plan.ts";

/** Elements between the rows of scores, which are f32. */
const SCORE_GAP = 4;

/** How a workgroup divides a tile of scores. */
export interface AttentionTile {
  readonly unit: MatrixUnit;
  readonly subgroups: number;
  /** Matrices of a subgroup's rows. */
  readonly down: number;
  /** Columns of the scores. */
  readonly columns: number;
  /** Elements of a head. */
  readonly depth: number;
  /** Elements of a head, filled up to whole matrices. */
  readonly width: number;
  /** Tiles of other operands that lie in workgroup memory at once. */
  readonly slices: number;
}

/** Kernels, by how much they keep in registers. */
export type AttentionPart = "forward" | "queries" | "keys";

/**
 * Of each kernel: tiles of other operands at once, the largest head, and columns by preference. Not
 * measured: sums, rows and scores of the tile that is tried first take up to 200 registers of a thread
 * where subgroups have 32.
 */
const PARTS: Readonly<
  Record<AttentionPart, { slices: number; mostDepth: number; columns: readonly number[] }>
> = {
  forward: { slices: 1, mostDepth: 128, columns: [64, 32, 16] },
  queries: { slices: 1, mostDepth: 128, columns: [64, 32, 16] },
  keys: { slices: 2, mostDepth: 96, columns: [32, 16] },
};

/** Rows of a subgroup at least, where it has as many threads. */
const ROWS = 16;

/** Rows of a subgroup. */
export function subgroupRows({ unit, down }: AttentionTile): number {
  return unit.m * down;
}

/** Rows of a workgroup. */
export function tileRows(tile: AttentionTile): number {
  return tile.subgroups * subgroupRows(tile);
}

/** Elements from a row of a slice, of weights and of scores to the next. */
export function pitchesOf({ width, columns }: AttentionTile): Record<
  "slice" | "weights" | "scores",
  number
> {
  return { slice: width + GAP, weights: columns + GAP, scores: columns + SCORE_GAP };
}

/** Bytes of workgroup memory that a tile takes. */
export function attentionTileBytes(tile: AttentionTile): number {
  const pitches = pitchesOf(tile);
  const rows = tileRows(tile);
  const slices = 2 * tile.slices * tile.columns * pitches.slice;
  const numbers = 4 * (Math.max(rows, 3 * tile.columns) + tile.subgroups);
  return slices + rows * (2 * pitches.weights + 4 * pitches.scores) + numbers;
}

/** The tile of a kernel for heads of this depth; null where none fits. */
export function attentionTile(
  unit: MatrixUnit,
  depth: number,
  part: AttentionPart,
  { maxComputeWorkgroupStorageSize: bytes, maxComputeInvocationsPerWorkgroup: most }: Pick<
    GPUSupportedLimits,
    "maxComputeWorkgroupStorageSize" | "maxComputeInvocationsPerWorkgroup"
  >,
  { writtenOut }: Pick<GpuTraits, "writtenOut">,
): AttentionTile | null {
  const { m, n, k, subgroup } = unit;
  const { slices, mostDepth, columns: choices } = PARTS[part];
  const isPower = [m, n, k, subgroup].every((size) => (size & (size - 1)) === 0);
  if (!isPower || m > subgroup || depth > mostDepth || depth % VECTOR !== 0) return null;
  const whole = Math.max(n, k, VECTOR);
  const width = Math.ceil(depth / whole) * whole;
  const down = Math.max(1, Math.min(ROWS, subgroup) / m);
  // Programs that act as a GPU compile longer kernels for minutes.
  for (const subgroups of writtenOut ? [4, 2] : [2]) {
    for (const columns of writtenOut ? choices : choices.slice(-1)) {
      if (columns % whole !== 0 || subgroups * subgroup > most) continue;
      const tile = { unit, subgroups, down, columns, depth, width, slices };
      if (attentionTileBytes(tile) <= bytes) return tile;
    }
  }
  return null;
}

/** An operand [outer, inner, rows, depth] that is read by vectors of 8 elements of a head. */
export interface HeadOperand {
  readonly name: string;
  readonly binding: ViewBinding;
  readonly uniforms: Readonly<Record<string, number>>;
}

/** `view` as such an operand; null where it cannot be read by vectors. */
export function headOperand(name: string, view: View): HeadOperand | null {
  const { dtype, offset, shape, strides } = view;
  if (dtype !== "f16" || offset % VECTOR !== 0 || shape[3]! % VECTOR !== 0) return null;
  if (strides[3] !== 1) return null;
  for (const axis of [0, 1, 2]) {
    if (shape[axis] !== 1 && strides[axis]! % VECTOR !== 0) return null;
  }
  return {
    name,
    binding: { name, view, access: "read", vec8: true },
    uniforms: {
      [`${name}Outer`]: strides[0]!,
      [`${name}Inner`]: strides[1]!,
      [`${name}Row`]: strides[2]!,
    },
  };
}

/** The numbers below `count`. */
export const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

/** Joins lines of WGSL. */
export const lines = (list: readonly string[]): string => list.join("\n");

/** Names a tile in the key of a kernel. */
export function tileKey({ depth, columns, subgroups }: AttentionTile): string {
  return `${depth}/${columns}x${subgroups}`;
}

/** Declares workgroup memory: `slice0` and so on, `scores`, `weights`. */
export function declareMemory(tile: AttentionTile): string {
  const { slices, columns } = tile;
  const pitches = pitchesOf(tile);
  const rows = tileRows(tile);
  return lines([
    // Elements beyond the head are never written: they stay 0, as workgroup memory begins.
    ...range(slices).map((i) =>
      `var<workgroup> slice${i}: array<f16, ${columns * pitches.slice}>;`
    ),
    `var<workgroup> scores: array<f32, ${rows * pitches.scores}>;`,
    `var<workgroup> weights: array<f16, ${rows * pitches.weights}>;`,
  ]);
}

/**
 * The head of `fn main`: finds `row0` (of `rows`, a uniform), the head (`batch`, `outer`, `inner`), the
 * subgroup's first row `own` in the tile, and of the thread the row `mine` in the tile that it weighs
 * `part` of.
 */
export function beginMain(tile: AttentionTile, rows: string): string {
  const { unit, subgroups } = tile;
  const own = subgroupRows(tile);
  const all = tileRows(tile);
  return `@compute @workgroup_size(${subgroups * unit.subgroup})
fn main(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(local_invocation_index) thread: u32,
  @builtin(subgroup_id) id: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let number = linear_group(workgroup);
  if (number >= params.grid_count) { return; }
  let tiles = (${rows} + ${all - 1}u) / ${all}u;
  let row0 = number % tiles * ${all}u;
  let batch = number / tiles;
  let outer = batch / params.heads;
  let inner = batch % params.heads;
  let own = id * ${own}u;
  let mine = own + lane / ${lanesOf(tile)}u;
  let part = lane % ${lanesOf(tile)}u;`;
}

/** Threads that share a row of scores. */
export function lanesOf(tile: AttentionTile): number {
  return tile.unit.subgroup / subgroupRows(tile);
}

/** Scores of a row that a thread weighs: every `lanesOf`-th, from `part` on. */
export function weighed(tile: AttentionTile): number[] {
  return range(tile.columns / lanesOf(tile));
}

/** The column of a thread's `i`-th score. */
export function columnOf(tile: AttentionTile, i: number): string {
  return `part + ${i * lanesOf(tile)}u`;
}

/** The place of a thread's `i`-th score in `scores` or `weights`. */
export function placeOf(tile: AttentionTile, array: "scores" | "weights", i: number): string {
  return `${array}[mine * ${pitchesOf(tile)[array]}u + ${columnOf(tile, i)}]`;
}

/** WGSL that combines a number of all threads that share a row. */
export function acrossRow(
  tile: AttentionTile,
  name: string,
  combine: (a: string, b: string) => string,
): string {
  const steps: string[] = [];
  for (let mask = 1; mask < lanesOf(tile); mask *= 2) {
    steps.push(`    ${name} = ${combine(name, `subgroupShuffleXor(${name}, ${mask}u)`)};`);
  }
  return lines(steps);
}

/** A tile of an operand on its way into a slice, through registers. */
export class Slice {
  readonly #vectors: number[];
  readonly #name: string;

  /**
   * @param rows How many rows the operand has, as WGSL: those beyond are 0.
   * @param memory Number of the slice.
   */
  constructor(
    readonly tile: AttentionTile,
    readonly operand: HeadOperand,
    readonly rows: string,
    readonly memory: number,
  ) {
    this.#name = operand.name;
    this.#vectors = range(Math.ceil(tile.columns * this.#across / this.#threads));
  }

  get #across(): number {
    return this.tile.depth / VECTOR;
  }

  get #threads(): number {
    return this.tile.subgroups * this.tile.unit.subgroup;
  }

  #place(i: number): string {
    return `(thread + ${i * this.#threads}u)`;
  }

  declare(): string {
    return lines(this.#vectors.map((i) => `  var ${this.#name}V${i} = vec4u();`));
  }

  /** Reads the tile whose first row is `origin`. */
  fetch(origin: string): string {
    const name = this.#name;
    return lines(this.#vectors.map((i) => {
      const row = `${origin} + ${this.#place(i)} / ${this.#across}u`;
      const at = `outer * params.${name}Outer + inner * params.${name}Inner + ` +
        `min(${row}, ${this.rows} - 1u) * params.${name}Row + ` +
        `${this.#place(i)} % ${this.#across}u * ${VECTOR}u`;
      return `    ${name}V${i} = select(vec4u(), ${name}_load8(${at}), ${row} < ${this.rows});`;
    }));
  }

  /** Writes what was read into the slice. */
  store(): string {
    const name = this.#name;
    const all = this.tile.columns * this.#across;
    return lines(this.#vectors.map((i) => {
      const guard = (i + 1) * this.#threads > all ? `if (${this.#place(i)} < ${all}u) ` : "";
      const at = `${this.#place(i)} / ${this.#across}u * ${pitchesOf(this.tile).slice}u + ` +
        `${this.#place(i)} % ${this.#across}u * ${VECTOR}u`;
      return lines([
        `    ${guard}{`,
        `      let at = ${at};`,
        `      let low = bitcast<vec4<f16>>(${name}V${i}.xy);`,
        `      let high = bitcast<vec4<f16>>(${name}V${i}.zw);`,
        ...["low", "high"].flatMap((half, h) =>
          ["x", "y", "z", "w"].map((c, e) =>
            `      slice${this.memory}[at + ${h * 4 + e}u] = ${half}.${c};`
          )
        ),
        "    }",
      ]);
    }));
  }

  /**
   * Statements that keep the subgroup's rows of the operand, from `row0` on, in matrices `NAMEOwn..`.
   * They go through the slice, as many at a time as it has rows.
   */
  keep(): string {
    const { tile, memory } = this;
    const { unit: { m, k }, columns, down, width } = tile;
    const own = subgroupRows(tile);
    const pitch = pitchesOf(tile).slice;
    const matrices = range(down).flatMap((i) => range(width / k).map((step) => [i, step] as const));
    // The slice has whole rows of subgroups, or subgroups have whole slices.
    const held = Math.min(own, columns);
    return lines([
      ...matrices.map(([i, step]) =>
        `  var ${this.own(i, step)}: subgroup_matrix_left<f16, ${k}, ${m}>;`
      ),
      ...range(tileRows(tile) / columns + (tileRows(tile) % columns ? 1 : 0)).map((chunk) =>
        lines([
          this.fetch(`row0 + ${chunk * columns}u`),
          this.store(),
          "    workgroupBarrier();",
          ...range(own / held).map((part) => {
            const first = part * held / m;
            const here = matrices.filter(([i]) => i >= first && i < first + held / m);
            return lines([
              `    if ((own + ${part * held}u) / ${columns}u == ${chunk}u) {`,
              `      let first = (own + ${part * held}u) % ${columns}u;`,
              ...here.map(([i, step]) =>
                `      ${this.own(i, step)} = subgroupMatrixLoad<subgroup_matrix_left<f16, ${k}, ` +
                `${m}>, row_major>(&slice${memory}, ` +
                `(first + ${(i - first) * m}u) * ${pitch}u + ${step * k}u, ${pitch}u);`
              ),
              "    }",
            ]);
          }),
          "    workgroupBarrier();",
        ])
      ),
    ]);
  }

  /** The matrix of the subgroup's rows `i` and of depth `step`. */
  own(i: number, step: number): string {
    return `${this.#name}Own${i}_${step}`;
  }

  /** Statements that store `rows . this^T`, where `rows` keeps the subgroup's, as its scores. */
  scores(rows: Slice): string {
    const { tile, memory } = this;
    const { unit: { m, n, k }, columns, down, width } = tile;
    const pitches = pitchesOf(tile);
    return lines([
      "    {",
      ...range(columns / n).map((j) =>
        lines([
          "    {",
          // Without a value it would begin as 0 in the first round only.
          ...range(down).map((i) =>
            `      var sum${i} = subgroup_matrix_result<f32, ${n}, ${m}>();`
          ),
          ...range(width / k).flatMap((step) => [
            `      let r${step} = subgroupMatrixLoad<subgroup_matrix_right<f16, ${n}, ${k}>, ` +
            `col_major>(&slice${memory}, ${j * n * pitches.slice + step * k}u, ` +
            `${pitches.slice}u);`,
            ...range(down).map((i) =>
              `      sum${i} = subgroupMatrixMultiplyAccumulate(${rows.own(i, step)}, ` +
              `r${step}, sum${i});`
            ),
          ]),
          ...range(down).map((i) =>
            `      subgroupMatrixStore<row_major>(&scores, ` +
            `(own + ${i * m}u) * ${pitches.scores}u + ${j * n}u, sum${i}, ${pitches.scores}u);`
          ),
          "    }",
        ])
      ),
      "    }",
    ]);
  }
}

/** Sums [rows of the subgroup, width] of weights times a slice, in matrices. */
export class Collected {
  readonly #matrices: (readonly [i: number, j: number])[];

  constructor(readonly tile: AttentionTile, readonly name: string) {
    this.#matrices = range(tile.down).flatMap((i) =>
      range(tile.width / tile.unit.n).map((j) => [i, j] as const)
    );
  }

  get #type(): string {
    return `subgroup_matrix_result<f32, ${this.tile.unit.n}, ${this.tile.unit.m}>`;
  }

  declare(): string {
    return lines(this.#matrices.map(([i, j]) => `  var ${this.name}${i}_${j}: ${this.#type};`));
  }

  /** Adds weights . slice. */
  add({ memory }: Slice): string {
    const { tile, name } = this;
    const { unit: { m, n, k }, columns, down, width } = tile;
    const pitches = pitchesOf(tile);
    return lines(
      range(columns / k).map((step) =>
        lines([
          "    {",
          ...range(down).map((i) =>
            `      let l${i} = subgroupMatrixLoad<subgroup_matrix_left<f16, ${k}, ${m}>, row_major>(` +
            `&weights, (own + ${i * m}u) * ${pitches.weights}u + ${
              step * k
            }u, ${pitches.weights}u);`
          ),
          ...range(width / n).flatMap((j) => [
            `      let r${j} = subgroupMatrixLoad<subgroup_matrix_right<f16, ${n}, ${k}>, row_major>(` +
            `&slice${memory}, ${step * k * pitches.slice + j * n}u, ${pitches.slice}u);`,
            ...range(down).map((i) =>
              `      ${name}${i}_${j} = subgroupMatrixMultiplyAccumulate(l${i}, r${j}, ` +
              `${name}${i}_${j});`
            ),
          ]),
          "    }",
        ])
      ),
    );
  }

  /**
   * Statements that pass the sums through `scores`, a tile's columns at a time: `each` is WGSL for four
   * of a row, `scores[at]` and on, of row `row` in the tile and column `column`.
   *
   * @param back Whether they are taken back from there.
   */
  pass(each: string, back = false): string {
    const { tile, name } = this;
    const { unit: { m, n, subgroup }, columns, width } = tile;
    const pitch = pitchesOf(tile).scores;
    return lines(
      range(Math.ceil(width / columns)).map((chunk) => {
        const first = chunk * columns;
        const here = this.#matrices.filter(([, j]) => Math.floor(j * n / columns) === chunk);
        const place = ([i, j]: readonly [number, number]): string =>
          `(own + ${i * m}u) * ${pitch}u + ${j * n - first}u`;
        const across = Math.min(columns, width - first) / 4;
        const all = subgroupRows(tile) * across;
        return lines([
          ...here.map((ij) =>
            `    subgroupMatrixStore<row_major>(&scores, ${place(ij)}, ` +
            `${name}${ij.join("_")}, ${pitch}u);`
          ),
          "    workgroupBarrier();",
          `    for (var e = lane; e < ${all}u; e += ${subgroup}u) {`,
          `      let row = own + e / ${across}u;`,
          `      let column = ${first}u + e % ${across}u * 4u;`,
          `      let at = row * ${pitch}u + e % ${across}u * 4u;`,
          each,
          "    }",
          "    workgroupBarrier();",
          ...back
            ? [
              ...here.map((ij) =>
                `    ${name}${ij.join("_")} = subgroupMatrixLoad<${this.#type}, row_major>(` +
                `&scores, ${place(ij)}, ${pitch}u);`
              ),
              "    workgroupBarrier();",
            ]
            : [],
        ]);
      }),
    );
  }

  /** Declares `fn RESULT_finish(outer, inner, row, column, value)` for {@linkcode Collected.finish}. */
  declareFinish(rows: string): string {
    const { name, tile } = this;
    return `
fn ${name}_finish(outer: u32, inner: u32, row: u32, column: u32, value: vec4f) {
  if (row >= ${rows} || column >= ${tile.depth}u) { return; }
  ${name}_store4(outer * params.${name}Outer + inner * params.${name}Inner +
    row * params.${name}Row + column, value);
}`;
  }

  /** Stores the sums times `factor`, WGSL that may use `row`, its number in the tile. */
  finish(factor: string): string {
    return this.pass(
      `      ${this.name}_finish(outer, inner, row0 + row, column, ${factor} *
        vec4f(scores[at], scores[at + 1u], scores[at + 2u], scores[at + 3u]));`,
    );
  }
}
