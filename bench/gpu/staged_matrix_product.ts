/**
 * The product of matrix_product.ts with its operands staged in workgroup memory, so that storage is
 * read once a workgroup, in whole rows of 16 bytes a thread, whichever way an operand lies.
 */
import { type MatrixTiling, type MatrixUnit, tileOf } from "./matrix_product.ts";

/** How operands are staged. */
export type StagedBy =
  /** Read, written to workgroup memory, multiplied. */
  | "plain"
  /** The next slice is read into registers while one is multiplied. */
  | "prefetch"
  /** And written to a second place in workgroup memory: one barrier a slice. */
  | "double";

/** f16 of a vector of 16 bytes. */
const VECTOR = 8;
/** Elements between rows of a staged slice, so that those of a matrix lie in different banks. */
const GAP = 8;
/** Tiles are visited in bands of so many rows, whose operands then stay in the cache. */
const BAND = 8;

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);
const lines = (list: readonly string[]): string => list.join("\n");

/** One operand of a slice. */
class Side {
  /** Rows of the slice as they lie in memory, and elements of each. */
  readonly rows: number;
  readonly length: number;
  /** Vectors that a thread copies. */
  readonly vectors: number[];

  /** @param deep Whether the operand's rows run along K. */
  constructor(
    readonly name: "a" | "b",
    readonly extent: "m" | "n",
    readonly origin: string,
    readonly deep: boolean,
    along: number,
    depth: number,
    readonly threads: number,
  ) {
    [this.rows, this.length] = deep ? [along, depth] : [depth, along];
    const vectors = this.rows * this.length / VECTOR;
    if (vectors % threads !== 0) {
      throw new RangeError(`expected vectors for ${threads} threads alike but got ${vectors}`);
    }
    this.vectors = range(vectors / threads);
  }

  get pitch(): number {
    return this.length + GAP;
  }

  get elements(): number {
    return this.rows * this.pitch;
  }

  /** Where each vector of the thread is, in the operand and in the slice. */
  places(): string {
    const { name, length, origin, deep, pitch } = this;
    const across = length / VECTOR;
    return lines(this.vectors.flatMap((i) => [
      `  let ${name}Row${i} = (thread + ${i * this.threads}u) / ${across}u;`,
      `  let ${name}Part${i} = (thread + ${i * this.threads}u) % ${across}u;`,
      `  let ${name}To${i} = ${name}Row${i} * ${pitch}u + ${name}Part${i} * ${VECTOR}u;`,
      deep
        ? `  let ${name}From${i} = (${origin} + ${name}Row${i}) * params.k / ${VECTOR}u + ${name}Part${i};`
        : `  let ${name}From${i} = ${name}Row${i} * params.${this.extent} / ${VECTOR}u + ` +
          `${origin} / ${VECTOR}u + ${name}Part${i};`,
    ]));
  }

  fetch(k: string, declare: "let " | "var " | ""): string {
    const { name, deep } = this;
    const step = deep ? `(${k}) / ${VECTOR}u` : `(${k}) * params.${this.extent} / ${VECTOR}u`;
    return lines(
      this.vectors.map((i) => `    ${declare}${name}V${i} = ${name}[${name}From${i} + ${step}];`),
    );
  }

  store(base: string): string {
    const { name } = this;
    return lines(this.vectors.map((i) =>
      lines([
        "    {",
        `      let low = bitcast<vec4<f16>>(${name}V${i}.xy);`,
        `      let high = bitcast<vec4<f16>>(${name}V${i}.zw);`,
        ...["low", "high"].flatMap((half, h) =>
          ["x", "y", "z", "w"].map((c, e) =>
            `      ${name}Slice[${base}${name}To${i} + ${h * 4 + e}u] = ${half}.${c};`
          )
        ),
        "    }",
      ])
    ));
  }
}

/** The shader: bindings 0 the sizes, 1 a, 2 b, 3 out (f32). All sizes are multiples of the tile's. */
export function stagedMatrixProduct(
  unit: MatrixUnit,
  tiling: MatrixTiling,
  by: StagedBy,
): string {
  const { M, N, K, subgroup } = unit;
  const { subgroupsDown, subgroupsAcross, matricesDown, matricesAcross, depth } = tiling;
  const [rows, columns] = tileOf(unit, tiling);
  const threads = subgroupsDown * subgroupsAcross * subgroup;
  const a = new Side("a", "m", "row0", !tiling.transposeA, rows, depth, threads);
  const b = new Side("b", "n", "column0", !!tiling.transposeB, columns, depth, threads);
  const sides = [a, b];
  const isDouble = by === "double";
  const base = ({ name }: Side) => isDouble ? `${name}Base + ` : "";
  const fetch = (k: string, declare: "let " | "var " | "") =>
    lines(sides.map((side) => side.fetch(k, declare)));
  const store = () => lines(sides.map((side) => side.store(base(side))));
  const load = (side: Side, kind: string, size: string, along: string, k: number) =>
    `subgroupMatrixLoad<subgroup_matrix_${kind}<f16, ${size}>, ` +
    // Rows along K are those of the left operand, and columns of the right one.
    `${side.deep === (kind === "left") ? "row" : "col"}_major>(&${side.name}Slice, ${base(side)}` +
    (side.deep ? `(${along}) * ${side.pitch}u + ${k}u` : `${k * side.pitch}u + ${along}`) +
    `, ${side.pitch}u)`;
  const rowOf = (i: number) => `down * ${matricesDown * M}u + ${i * M}u`;
  const columnOf = (j: number) => `across * ${matricesAcross * N}u + ${j * N}u`;
  const sums = range(matricesDown).flatMap((i) =>
    range(matricesAcross).map((j) => [i, j] as const)
  );
  const multiply = lines(
    range(depth / K).flatMap((step) => [
      "    {",
      ...range(matricesDown).map((i) =>
        `      let l${i} = ${load(a, "left", `${K}, ${M}`, rowOf(i), step * K)};`
      ),
      ...range(matricesAcross).flatMap((j) => [
        `      let r${j} = ${load(b, "right", `${N}, ${K}`, columnOf(j), step * K)};`,
        ...range(matricesDown).map((i) =>
          `      sum${i}_${j} = subgroupMatrixMultiplyAccumulate(l${i}, r${j}, sum${i}_${j});`
        ),
      ]),
      "    }",
    ]),
  );
  const slices = `  for (var k0 = 0u; k0 < params.k; k0 += ${depth}u) {`;
  const next = `    let next = min(k0 + ${depth}u, params.k - ${depth}u);`;
  const barrier = "    workgroupBarrier();";
  const loop = {
    plain: [slices, fetch("k0", "let "), store(), barrier, multiply, barrier],
    prefetch: [
      ...[fetch("0u", "var "), slices, store(), barrier, next, fetch("next", ""), multiply],
      barrier,
    ],
    double: [
      fetch("0u", "var "),
      ...sides.map(({ name }) => `  var ${name}Base = 0u;`),
      store(),
      barrier,
      slices,
      next,
      fetch("next", ""),
      multiply,
      ...sides.map(({ name, elements }) => `    ${name}Base = ${elements}u - ${name}Base;`),
      store(),
      barrier,
    ],
  }[by];
  return lines([
    "diagnostic(off, chromium.subgroup_matrix_uniformity);",
    "enable f16;",
    "enable subgroups;",
    "enable chromium_experimental_subgroup_matrix;",
    "struct Sizes { m: u32, n: u32, k: u32, unused: u32 }",
    "@group(0) @binding(0) var<uniform> params: Sizes;",
    "@group(0) @binding(1) var<storage, read> a: array<vec4u>;",
    "@group(0) @binding(2) var<storage, read> b: array<vec4u>;",
    "@group(0) @binding(3) var<storage, read_write> out: array<f32>;",
    ...sides.map(({ name, elements }) =>
      `var<workgroup> ${name}Slice: array<f16, ${elements * (isDouble ? 2 : 1)}>;`
    ),
    `@compute @workgroup_size(${threads})`,
    "fn main(",
    "  @builtin(workgroup_id) group: vec3u,",
    "  @builtin(local_invocation_index) thread: u32,",
    "  @builtin(subgroup_id) id: u32,",
    ") {",
    `  let tilesDown = params.m / ${rows}u;`,
    `  let tilesAcross = params.n / ${columns}u;`,
    `  let band = group.x / (tilesAcross * ${BAND}u);`,
    `  let inBand = group.x % (tilesAcross * ${BAND}u);`,
    `  let bandRows = min(tilesDown - band * ${BAND}u, ${BAND}u);`,
    `  let row0 = (band * ${BAND}u + inBand % bandRows) * ${rows}u;`,
    `  let column0 = inBand / bandRows * ${columns}u;`,
    `  let down = id / ${subgroupsAcross}u;`,
    `  let across = id % ${subgroupsAcross}u;`,
    ...sides.map((side) => side.places()),
    ...sums.map(([i, j]) => `  var sum${i}_${j}: subgroup_matrix_result<f32, ${N}, ${M}>;`),
    ...loop,
    "  }",
    ...sums.map(([i, j]) =>
      `  subgroupMatrixStore<row_major>(&out, (row0 + ${rowOf(i)}) * params.n + column0 + ` +
      `${columnOf(j)}, sum${i}_${j}, params.n);`
    ),
    "}",
  ]);
}

/** Bytes of workgroup memory. */
export function stagedBytes(unit: MatrixUnit, tiling: MatrixTiling, by: StagedBy): number {
  const [rows, columns] = tileOf(unit, tiling);
  const { depth, transposeA, transposeB } = tiling;
  const bytes = (along: number, deep: boolean) =>
    2 * (deep ? along * (depth + GAP) : depth * (along + GAP));
  return (bytes(rows, !transposeA) + bytes(columns, !!transposeB)) * (by === "double" ? 2 : 1);
}
