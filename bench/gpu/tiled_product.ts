/**
 * Shaders of one product, out [M, N] = a [M, K] b [N, K] transposed, in many variants of the same
 * design: tiles in workgroup memory, smaller tiles in registers. Which is fastest depends on how a
 * driver compiles them, so all are tried.
 */

/** How a product is computed. */
export interface Tiling {
  /** Of the tile of a workgroup. */
  readonly rows: number;
  readonly columns: number;
  /** Elements of K that are staged at once. */
  readonly depth: number;
  /** Of the part of the tile that a thread computes; multiples of 4. */
  readonly threadRows: number;
  readonly threadColumns: number;
  /** Whether indices into workgroup memory are masked, so that compilers know their bounds. */
  readonly masked?: boolean;
  /** Whether no loop over the staged depth is left. */
  readonly unrolled?: boolean;
  /** Whether the next slice is read while one is multiplied; `double`: into a tile of its own. */
  readonly prefetch?: "registers" | "double";
  /** Type of a, b and out; sums are f32. */
  readonly type?: "f32" | "f16";
  /** Type in workgroup memory. */
  readonly staged?: "f32" | "f16";
}

/** Workgroups of a product; they are launched in one row. */
export function workgroupsOf({ rows, columns }: Tiling, m: number, n: number): number {
  return Math.ceil(m / rows) * Math.ceil(n / columns);
}

/** Steps of K that are written out where the loop is not unrolled. */
const STEPS = 8;

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);
const lines = (list: readonly string[]): string => list.join("\n");

/** One operand: where it comes from and how it is staged, K outermost, in columns of vec4. */
class Side {
  /** vec4s from one K to the next; odd, so that fewer threads meet in a bank. */
  readonly pitch: number;
  /** 4x4 blocks that a thread stages. */
  readonly blocks: number[];
  readonly guard: string;

  constructor(
    readonly name: "left" | "right",
    readonly array: "a" | "b",
    readonly extent: "m" | "n",
    readonly origin: string,
    readonly tiling: Tiling,
    threads: number,
    length: number,
  ) {
    this.pitch = length / 4 + 1;
    const blocks = length / 4 * (tiling.depth / 4);
    if (blocks > threads && blocks % threads !== 0) {
      throw new RangeError(`expected blocks for ${threads} threads alike but got ${blocks}`);
    }
    this.blocks = range(Math.ceil(blocks / threads));
    this.guard = blocks < threads ? `if (thread < ${blocks}u) ` : "";
    this.#threads = threads;
  }

  readonly #threads: number;

  /** Where each block of the thread is, in the array and in the tile. */
  places(): string {
    const { name, extent, origin, tiling: { depth } } = this;
    return lines(this.blocks.map((i) => {
      const block = `(thread + ${i * this.#threads}u)`;
      return lines([
        `  let ${name}K${i} = ${block} % ${depth / 4}u * 4u;`,
        `  let ${name}X${i} = ${block} / ${depth / 4}u;`,
        ...range(4).map((row) => {
          const at = `min(${origin} + ${name}X${i} * 4u + ${row}u, params.${extent} - 1u)`;
          return `  let ${name}At${i}_${row} = ${at} * params.k + ${name}K${i};`;
        }),
      ]);
    }));
  }

  /** Reads the blocks at a K into registers. */
  fetch(k: string, declare: "let " | "var " | ""): string {
    const { name, array, tiling: { staged = "f32" } } = this;
    return lines(
      this.blocks.flatMap((i) =>
        range(4).map((row) =>
          `    ${declare}${name}V${i}_${row} = vec4<${staged}>(${array}[(${name}At${i}_${row} + ${k}) >> 2u]);`
        )
      ),
    );
  }

  /** Writes them to the tile, transposed. */
  store(base: string): string {
    const { name, pitch, guard } = this;
    return lines(this.blocks.map((i) => {
      const at = `${base}${name}K${i} * ${pitch}u + ${name}X${i}`;
      const columns = ["x", "y", "z", "w"].map((c, k) => {
        const values = range(4).map((row) => `${name}V${i}_${row}.${c}`).join(", ");
        return `${name}[${at} + ${k * pitch}u] = vec4(${values});`;
      });
      return `    ${guard}{ ${columns.join(" ")} }`;
    }));
  }
}

/** The shader: bindings 0 the sizes, 1 a, 2 b, 3 out. N and K are multiples of 4. */
export function tiledProduct(tiling: Tiling): string {
  const { rows, columns, depth, threadRows, threadColumns, masked, unrolled, prefetch } = tiling;
  const { type = "f32", staged = "f32" } = tiling;
  const [down, across] = [rows / threadRows, columns / threadColumns];
  const threads = down * across;
  const left = new Side("left", "a", "m", "row0", tiling, threads, rows);
  const right = new Side("right", "b", "n", "column0", tiling, threads, columns);
  const sides = [left, right];
  const isDouble = prefetch === "double";
  const base = ({ name }: Side) => isDouble ? `${name}Base + ` : "";
  const fetch = (k: string, declare: "let " | "var " | "") =>
    lines(sides.map((side) => side.fetch(k, declare)));
  const store = () => lines(sides.map((side) => side.store(base(side))));

  const inTile = (name: string, count: number) => masked ? `(${name} & ${count - 1}u)` : name;
  const step = (k: string) =>
    lines([
      "      {",
      ...range(threadRows / 4).map((g) =>
        `        let l${g} = vec4f(left[${base(left)}${k} * ${left.pitch}u + ` +
        `${g * down}u + ${inTile("down", down)}]);`
      ),
      ...range(threadColumns / 4).map((g) =>
        `        let r${g} = vec4f(right[${base(right)}${k} * ${right.pitch}u + ` +
        `${g * across}u + ${inTile("across", across)}]);`
      ),
      ...range(threadRows).flatMap((row) =>
        range(threadColumns / 4).map((g) =>
          `        sum${row}_${g} = fma(vec4f(l${row >> 2}.${
            "xyzw"[row & 3]
          }), r${g}, sum${row}_${g});`
        )
      ),
      "      }",
    ]);
  const steps = Math.min(STEPS, depth);
  const multiply = unrolled || depth === steps
    ? lines(range(depth).map((k) => step(`${k}u`)))
    : `    for (var k = 0u; k < ${depth}u; k += ${steps}u) {\n` +
      `${lines(range(steps).map((k) => step(`(k + ${k}u)`)))}\n    }`;

  const slices = `  for (var k0 = 0u; k0 < params.k; k0 += ${depth}u) {`;
  const next = `    let next = min(k0 + ${depth}u, params.k - ${depth}u);`;
  const barrier = "    workgroupBarrier();";
  const loop = isDouble
    ? [
      fetch("0u", "var "),
      "  var leftBase = 0u;\n  var rightBase = 0u;",
      store(),
      barrier,
      slices,
      next,
      fetch("next", ""),
      multiply,
      ...sides.map(({ name, pitch }) => `    ${name}Base = ${depth * pitch}u - ${name}Base;`),
      store(),
      barrier,
    ]
    : prefetch === "registers"
    ? [fetch("0u", "var "), slices, store(), barrier, next, fetch("next", ""), multiply, barrier]
    : [slices, fetch("k0", "let "), store(), barrier, multiply, barrier];
  const tile = ({ name, pitch }: Side) =>
    `var<workgroup> ${name}: array<vec4<${staged}>, ${(isDouble ? 2 : 1) * depth * pitch}>;`;
  const results = range(threadRows).flatMap((row) =>
    range(threadColumns / 4).map((g) =>
      lines([
        `  { let row = row0 + (${(row >> 2) * down}u + down) * 4u + ${row & 3}u;`,
        `    let column = column0 + (${g * across}u + across) * 4u;`,
        "    if (row < params.m && column < params.n) {",
        `      result[(row * params.n + column) >> 2u] = vec4<${type}>(sum${row}_${g});`,
        "    } }",
      ])
    )
  );
  return lines([
    type === "f16" || staged === "f16" ? "enable f16;" : "",
    "struct Sizes { m: u32, n: u32, k: u32, unused: u32 }",
    "@group(0) @binding(0) var<uniform> params: Sizes;",
    `@group(0) @binding(1) var<storage, read> a: array<vec4<${type}>>;`,
    `@group(0) @binding(2) var<storage, read> b: array<vec4<${type}>>;`,
    `@group(0) @binding(3) var<storage, read_write> result: array<vec4<${type}>>;`,
    ...sides.map(tile),
    `@compute @workgroup_size(${threads})`,
    "fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {",
    // Bands of eight tiles, down first, so that neighbours in time share what they read.
    `  let tilesDown = (params.m + ${rows - 1}u) / ${rows}u;`,
    `  let tilesAcross = (params.n + ${columns - 1}u) / ${columns}u;`,
    "  let band = group.x / (tilesAcross * 8u);",
    "  let inBand = group.x % (tilesAcross * 8u);",
    "  let bandRows = min(tilesDown - band * 8u, 8u);",
    `  let row0 = (band * 8u + inBand % bandRows) * ${rows}u;`,
    `  let column0 = inBand / bandRows * ${columns}u;`,
    `  let down = thread / ${across}u;`,
    `  let across = thread % ${across}u;`,
    ...sides.map((side) => side.places()),
    ...range(threadRows).flatMap((row) =>
      range(threadColumns / 4).map((g) => `  var sum${row}_${g} = vec4f();`)
    ),
    ...loop,
    "  }",
    ...results,
    "}",
  ]);
}
