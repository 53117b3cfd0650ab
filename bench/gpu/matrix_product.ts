/**
 * Shaders of a product on matrix units ("tensor cores") through Dawn's subgroup matrices: f16
 * operands straight from storage, f32 sums. It covers x wT, g w and gT x, as layers and their
 * gradients need them, without transposing anything.
 */

/** Sizes of the matrices that a subgroup multiplies. */
export interface MatrixUnit {
  readonly M: number;
  readonly N: number;
  readonly K: number;
  /** Threads of a subgroup. */
  readonly subgroup: number;
}

/** How a product is divided. */
export interface MatrixTiling {
  /** Subgroups of a workgroup. */
  readonly subgroupsDown: number;
  readonly subgroupsAcross: number;
  /** Matrices that each of them computes. */
  readonly matricesDown: number;
  readonly matricesAcross: number;
  /** Elements of K between two rounds of the loop; a multiple of the unit's. */
  readonly depth: number;
  /** Whether a is [K, M] rather than [M, K]. */
  readonly transposeA?: boolean;
  /** Whether b is [N, K] rather than [K, N]. */
  readonly transposeB?: boolean;
  /** Whether a bias is added and GELU follows, in the same kernel. */
  readonly gelu?: boolean;
}

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);
const lines = (list: readonly string[]): string => list.join("\n");

/** Rows and columns of a workgroup's tile, which must divide M and N. */
export function tileOf(unit: MatrixUnit, tiling: MatrixTiling): readonly [number, number] {
  return [
    tiling.subgroupsDown * tiling.matricesDown * unit.M,
    tiling.subgroupsAcross * tiling.matricesAcross * unit.N,
  ];
}

/** The shader: bindings 0 the sizes, 1 a, 2 b, 3 out (f32) and, with `gelu`, 4 the bias. */
export function matrixProduct(unit: MatrixUnit, tiling: MatrixTiling): string {
  const { M, N, K, subgroup } = unit;
  const { subgroupsDown, subgroupsAcross, matricesDown, matricesAcross, depth } = tiling;
  const { transposeA, transposeB, gelu } = tiling;
  const [rows, columns] = tileOf(unit, tiling);
  const subgroups = subgroupsDown * subgroupsAcross;
  const rowOf = (i: number) => `row0 + down * ${matricesDown * M}u + ${i * M}u`;
  const columnOf = (j: number) => `column0 + across * ${matricesAcross * N}u + ${j * N}u`;
  const load = (side: "left" | "right", size: string, from: string) =>
    `subgroupMatrixLoad<subgroup_matrix_${side}<f16, ${size}>, ${from})`;
  const loadA = (i: number, k: string) =>
    load(
      "left",
      `${K}, ${M}`,
      transposeA
        ? `col_major>(&a, (${k}) * params.m + ${rowOf(i)}, params.m`
        : `row_major>(&a, (${rowOf(i)}) * params.k + ${k}, params.k`,
    );
  const loadB = (j: number, k: string) =>
    load(
      "right",
      `${N}, ${K}`,
      transposeB
        ? `col_major>(&b, (${columnOf(j)}) * params.k + ${k}, params.k`
        : `row_major>(&b, (${k}) * params.n + ${columnOf(j)}, params.n`,
    );
  const sums = range(matricesDown).flatMap((i) =>
    range(matricesAcross).map((j) => [i, j] as const)
  );
  const store = ([i, j]: readonly [number, number]) =>
    gelu
      ? lines([
        `  subgroupMatrixStore<row_major>(&corner, id * ${M * N}u, sum${i}_${j}, ${N}u);`,
        "  workgroupBarrier();",
        `  for (var e = lane; e < ${M * N}u; e += ${subgroup}u) {`,
        `    let row = ${rowOf(i)} + e / ${N}u;`,
        `    let column = ${columnOf(j)} + e % ${N}u;`,
        `    let x = corner[id * ${M * N}u + e] + bias[column];`,
        // 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), as x sigmoid(2 ...)
        "    out[row * params.n + column] = " +
        "x / (1.0 + exp(-1.5957691216 * (x + 0.044715 * x * x * x)));",
        "  }",
        "  workgroupBarrier();",
      ])
      : `  subgroupMatrixStore<row_major>(&out, (${rowOf(i)}) * params.n + ${columnOf(j)}, ` +
        `sum${i}_${j}, params.n);`;
  return lines([
    "diagnostic(off, chromium.subgroup_matrix_uniformity);",
    "enable f16;",
    "enable subgroups;",
    "enable chromium_experimental_subgroup_matrix;",
    "struct Sizes { m: u32, n: u32, k: u32, unused: u32 }",
    "@group(0) @binding(0) var<uniform> params: Sizes;",
    "@group(0) @binding(1) var<storage, read> a: array<f16>;",
    "@group(0) @binding(2) var<storage, read> b: array<f16>;",
    "@group(0) @binding(3) var<storage, read_write> out: array<f32>;",
    ...(gelu
      ? [
        "@group(0) @binding(4) var<storage, read> bias: array<f32>;",
        `var<workgroup> corner: array<f32, ${subgroups * M * N}>;`,
      ]
      : []),
    `@compute @workgroup_size(${subgroups * subgroup})`,
    "fn main(",
    "  @builtin(workgroup_id) group: vec3u,",
    "  @builtin(subgroup_id) id: u32,",
    "  @builtin(subgroup_invocation_id) lane: u32,",
    ") {",
    `  let tilesDown = params.m / ${rows}u;`,
    `  let row0 = group.x % tilesDown * ${rows}u;`,
    `  let column0 = group.x / tilesDown * ${columns}u;`,
    `  let down = id / ${subgroupsAcross}u;`,
    `  let across = id % ${subgroupsAcross}u;`,
    ...sums.map(([i, j]) => `  var sum${i}_${j}: subgroup_matrix_result<f32, ${N}, ${M}>;`),
    `  for (var k0 = 0u; k0 < params.k; k0 += ${depth}u) {`,
    ...range(depth / K).flatMap((step) => {
      const k = `k0 + ${step * K}u`;
      return [
        "    {",
        ...range(matricesDown).map((i) => `      let l${i} = ${loadA(i, k)};`),
        ...range(matricesAcross).flatMap((j) => [
          `      let r${j} = ${loadB(j, k)};`,
          ...range(matricesDown).map((i) =>
            `      sum${i}_${j} = subgroupMatrixMultiplyAccumulate(l${i}, r${j}, sum${i}_${j});`
          ),
        ]),
        "    }",
      ];
    }),
    "  }",
    ...sums.map(store),
    "}",
  ]);
}
