/**
 * The tiled matrix product that matmul, convolution and attention are built from.
 *
 * A workgroup computes a tile of the result. Slices of both operands, `depth` deep, are staged in
 * workgroup memory as vec4s that lie *along the tile*: `left[k][m / 4]`, `right[k][n / 4]`. Each
 * thread then reads a few vec4s of both and adds their outer product to its own registers, which
 * are named variables, since arrays in private memory are spilled by most drivers.
 *
 * Everything stays within WebGPU's default limits: 16384 bytes of workgroup memory and 256
 * invocations.
 */

/** How a workgroup divides its tile: `rows` x `columns`, of which a thread takes a part. */
export interface Tile {
  readonly rows: number;
  readonly columns: number;
  /** Rows and columns of a thread, multiples of 4. */
  readonly threadRows: number;
  readonly threadColumns: number;
  /** Depth staged at a time, a multiple of 4. */
  readonly depth: number;
}

/** Threads of a tile down, across and in all. */
export function threadsOf(tile: Tile): { down: number; across: number; all: number } {
  const down = tile.rows / tile.threadRows;
  const across = tile.columns / tile.threadColumns;
  return { down, across, all: down * across };
}

/**
 * vec4s from one depth to the next of a staged operand `extent` wide. One more than needed: the
 * threads that transpose while they stage write whole columns, which would otherwise all fall
 * into the same bank of workgroup memory.
 */
export function pitchOf(extent: number): number {
  return extent / 4 + 1;
}

/** Bytes of workgroup memory that both staged operands take. */
export function workgroupBytes(tile: Tile): number {
  const { left, right } = stagedOf(tile);
  return 16 * (left + right);
}

/** vec4s of the two staged operands. */
export function stagedOf(tile: Tile): { left: number; right: number } {
  return { left: tile.depth * pitchOf(tile.rows), right: tile.depth * pitchOf(tile.columns) };
}

/** Names of a thread's vec4 accumulators: `[row][group of four columns]`. */
function accumulators(tile: Tile, name: string): string[][] {
  return Array.from(
    { length: tile.threadRows },
    (_, r) => Array.from({ length: tile.threadColumns / 4 }, (_, c) => `${name}${r}_${c}`),
  );
}

/** Declares a thread's accumulators and sets them to 0. */
export function declareAccumulators(tile: Tile, name: string): string {
  return accumulators(tile, name).map((row) => row.map((a) => `  var ${a} = vec4f();`).join("\n"))
    .join("\n");
}

/** How a kernel is written around its tile; the order of sums is the same in every way. */
export interface TileCode {
  /**
   * Whether threads' places are masked where they index workgroup memory: compilers then know that
   * indices are in bounds, drop the checks that WebGPU adds, and put offsets into instructions.
   */
  readonly masked: boolean;
  /** Whether no loop over the staged depth is left. */
  readonly unrolled: boolean;
  /** Whether the next slice is read into registers while one is multiplied. */
  readonly prefetch: boolean;
}

/** WGSL of an element of a staged operand, at a place within what is staged at a time. */
export type Staged = (place: string) => string;

/**
 * `name += left . right` over the staged depth (or the `depth` given), the left operand being in
 * `leftArray`. Reads `down` and `across`,
 * the thread's place in the workgroup. Rows and columns of a thread come in groups of four, the
 * groups of neighbouring threads side by side, so that neighbours read neighbouring banks.
 *
 * Where it is not unrolled eight steps are written out and the rest is a loop: drivers hardly
 * unroll loops of this size.
 */
export function multiplyStaged(
  tile: Tile,
  name: string,
  { masked, unrolled }: Pick<TileCode, "masked" | "unrolled">,
  depth: number = tile.depth,
  leftArray: Staged = (place) => `left[${place}]`,
): string {
  const threads = threadsOf(tile);
  const acc = accumulators(tile, name);
  const steps = unrolled ? depth : depth % 8 === 0 ? 8 : 4;
  const lines = unrolled ? [] : [`    for (var k = 0u; k < ${depth}u; k += ${steps}u) {`];
  const place = (name: "down" | "across"): string =>
    masked ? `(${name} & ${threads[name] - 1}u)` : name;
  for (let k = 0; k < steps; k++) {
    const load = (array: Staged, at: string, pitch: number, group: number, step: number) =>
      array(
        unrolled
          ? `${k * pitch + group * step}u + ${at}`
          : `(k + ${k}u) * ${pitch}u + ${at} + ${group * step}u`,
      );
    lines.push("      {");
    for (let g = 0; g < tile.threadRows / 4; g++) {
      const from = load(leftArray, place("down"), pitchOf(tile.rows), g, threads.down);
      lines.push(`        let l${g} = ${from};`);
    }
    for (let g = 0; g < tile.threadColumns / 4; g++) {
      const from = load(
        (at) => `right[${at}]`,
        place("across"),
        pitchOf(tile.columns),
        g,
        threads.across,
      );
      lines.push(`        let r${g} = ${from};`);
    }
    acc.forEach((row, r) =>
      row.forEach((c, g) =>
        lines.push(`        ${c} = fma(vec4f(l${r >> 2}.${"xyzw"[r & 3]}), r${g}, ${c});`)
      )
    );
    lines.push("      }");
  }
  if (!unrolled) lines.push("    }");
  return lines.join("\n");
}

/** Statements that add up the left operand of a tile over the depth; they use `thread`. */
export interface StagedSums {
  /** Before the loop over the depth. */
  readonly declare: string;
  /** Between the barriers around each slice. */
  readonly add: string;
  /** After the loop: `store(lane, sum)` is called for the tile's rows, four by each of some threads. */
  finish(store: (lane: string, sum: string) => string): string;
}

/**
 * Adds up the staged left operand where `condition`, which is the same in all threads of a
 * workgroup. A few threads share a group of four rows, each taking some of the depth.
 */
export function addStaged(tile: Tile, condition: string, name: string): StagedSums {
  const groups = tile.rows / 4;
  const shares = threadsOf(tile).all / groups;
  const pitch = pitchOf(tile.rows);
  const x4 = `${name}X4`;
  const terms = Array.from(
    { length: tile.depth / shares },
    (_, i) => `left[(thread / ${groups}u + ${i * shares}u) * ${pitch}u + ${x4}]`,
  );
  const parts = Array.from({ length: shares }, (_, i) => `left[${x4} + ${i * groups}u]`);
  return {
    declare: `  let ${x4} = thread % ${groups}u;\n  var ${name} = vec4f();`,
    add: `    if (${condition}) { ${name} += ${terms.join(" + ")}; }`,
    finish: (store) =>
      `  if (${condition}) {
    left[thread] = ${name};
    workgroupBarrier();
    if (thread < ${groups}u) {
      let all = ${parts.join(" + ")};
${
        [0, 1, 2, 3].map((i) =>
          store(`${x4} * 4u + ${i}u`, `all.${"xyzw"[i]}`)
        ).join("\n")
      }
    }
  }`,
  };
}

/**
 * Calls `visit(row, column, accumulator, r)` for each vec4 of a thread: row and first column inside
 * the tile, as WGSL expressions of `down` and `across`, and which of the thread's rows it is.
 */
export function visitAccumulators(
  tile: Tile,
  name: string,
  visit: (row: string, column: string, accumulator: string, r: number) => string,
): string {
  const threads = threadsOf(tile);
  return accumulators(tile, name).map((groups, r) => {
    const row = `(${(r >> 2) * threads.down}u + down) * 4u + ${r & 3}u`;
    return groups.map((acc, g) => visit(row, `(${g * threads.across}u + across) * 4u`, acc, r))
      .join("\n");
  }).join("\n");
}

/** Where a staged operand comes from. */
export interface Operand {
  /**
   * What a thread reads at a time: "across", four neighbours along the tile at one depth, or
   * "deep", four depths of each of four neighbours along the tile, transposed in registers.
   */
  readonly order: "across" | "deep";
  /** Statements that run once; `x` is the first of the thread's four neighbours in the result. */
  prepare(x: string): string;
  /**
   * Statements that declare the vec4f `name`: four neighbours at depth `k`, or depths k to k + 3
   * of neighbour `lane`. Reads beyond the operand may give anything.
   */
  load(name: string, k: string, lane: number): string;
  /**
   * A WGSL function of a vec4f that elements go through on their way to workgroup memory, of which 0
   * stays 0; none by default. It is called after what is read ahead has arrived.
   */
  readonly through?: string | undefined;
}

/** Statements that stage an operand. They use `thread` and the tile's first row or column. */
export interface Staging {
  /** Before the loop over the depth. */
  readonly prepare: string;
  /** Declares the registers that `fetch` fills. */
  readonly registers: string;
  /** Reads the slice that begins at depth `k0` into registers; those from `kEnd` on as 0. */
  readonly fetch: string;
  /** Writes the registers to workgroup memory. */
  readonly store: string;
  /** Both at once, without registers that outlive it. */
  readonly stage: string;
}

/** Some vec4s of a slice that a thread reads and writes at once. */
interface StagedPart {
  /** Which threads do, as `if (...) `, or nothing for all of them. */
  readonly guard: string;
  /** Declares what `values` are made of. */
  readonly load: string;
  readonly values: readonly string[];
  /** Writes them, by these names, to workgroup memory. */
  store(values: readonly string[]): string;
}

/**
 * Stages one operand of a tile, `origin` being its first row or column: depths from `kEnd` on as 0
 * where `ragged`.
 */
export function stageOperand(
  tile: Tile,
  side: "left" | "right",
  operand: Operand,
  origin: string,
  ragged: boolean,
  array: Staged = (place) => `${side}[${place}]`,
): Staging {
  const staged = operand.order === "across"
    ? stageAcross(tile, side, operand, origin, ragged, array)
    : stageDeep(tile, side, operand, origin, ragged, array);
  const { prepare } = staged;
  const { through } = operand;
  const parts = through ? staged.parts.map((part) => storedThrough(part, through)) : staged.parts;
  const names = parts.map(({ values }, i) => values.map((_, j) => `${side}V${i}_${j}`));
  return {
    prepare,
    registers: names.flat().map((name) => `  var ${name} = vec4f();`).join("\n"),
    fetch: parts.map(({ guard, load, values }, i) =>
      `    ${guard}{\n${load}\n${
        values.map((value, j) => `      ${names[i]![j]} = ${value};`).join("\n")
      }\n    }`
    ).join("\n"),
    store: parts.map(({ guard, store }, i) => `    ${guard}{\n${store(names[i]!)}\n    }`).join(
      "\n",
    ),
    stage: parts.map(({ guard, load, values, store }) =>
      `    ${guard}{\n${load}\n${store(values)}\n    }`
    ).join("\n"),
  };
}

/** A part whose values go through a function before they are written. */
function storedThrough(part: StagedPart, through: string): StagedPart {
  return {
    ...part,
    store: (values) => {
      const names = values.map((_, i) => `through${i}`);
      const lines = values.map((value, i) => `      let ${names[i]} = ${through}(${value});`);
      return `${lines.join("\n")}\n${part.store(names)}`;
    },
  };
}

/**
 * A thread keeps its neighbours along the tile and walks down the depth, so addresses along the
 * tile are computed once.
 */
function stageAcross(
  tile: Tile,
  side: "left" | "right",
  operand: Operand,
  origin: string,
  ragged: boolean,
  array: Staged,
): { prepare: string; parts: StagedPart[] } {
  const extent = side === "left" ? tile.rows : tile.columns;
  const pitch = pitchOf(extent);
  const groups = extent / 4;
  const [x4, k] = [`${side}X4`, `${side}K`];
  const rows = threadsOf(tile).all / groups;
  const prepare = `
  let ${x4} = thread % ${groups}u;
  let ${k} = thread / ${groups}u;
${operand.prepare(`(${origin} + ${x4} * 4u)`)}`;
  const parts: StagedPart[] = [];
  for (let first = 0; first < tile.depth; first += rows) {
    parts.push({
      // More threads than vec4s in a slice: the rest sit out.
      guard: first + rows > tile.depth ? `if (${k} < ${tile.depth - first}u) ` : "",
      load: `      let k = k0 + ${k} + ${first}u;\n${operand.load("value", "k", 0)}`,
      values: [ragged ? "select(vec4f(), value, k < kEnd)" : "value"],
      store: ([value]) => `      ${array(`(${k} + ${first}u) * ${pitch}u + ${x4}`)} = ${value};`,
    });
  }
  return { prepare, parts };
}

/** A thread transposes blocks of four depths of four neighbours along the tile. */
function stageDeep(
  tile: Tile,
  side: "left" | "right",
  operand: Operand,
  origin: string,
  ragged: boolean,
  array: Staged,
): { prepare: string; parts: StagedPart[] } {
  const threads = threadsOf(tile).all;
  const extent = side === "left" ? tile.rows : tile.columns;
  const pitch = pitchOf(extent);
  const [x4, k] = [`${side}X4`, `${side}K`];
  const quads = tile.depth / 4;
  const blocks = extent / 4 * quads;
  if (blocks > threads) throw new RangeError(`a ${side} tile of ${extent} has too few threads`);
  // Where half of the threads are enough, the right operand takes the other half.
  const from = side === "right" ? threads - blocks : 0;
  const guard = blocks === threads
    ? ""
    : from > 0
    ? `if (thread >= ${from}u) `
    : `if (thread < ${blocks}u) `;
  const prepare = `
  let ${side}Block = ${from > 0 ? `max(thread, ${from}u) - ${from}u` : "thread"};
  let ${k} = ${side}Block % ${quads}u * 4u;
  let ${x4} = ${side}Block / ${quads}u;
${operand.prepare(`(${origin} + ${x4} * 4u)`)}`;
  const mask = "(vec4u(k) + vec4u(0u, 1u, 2u, 3u)) < vec4u(kEnd)";
  const lanes = [0, 1, 2, 3];
  const load = (lane: number): string =>
    ragged
      ? `${operand.load(`raw${lane}`, "k", lane)}
      let part${lane} = select(vec4f(), raw${lane}, ${mask});`
      : operand.load(`part${lane}`, "k", lane);
  const store = (values: readonly string[]): string =>
    ["x", "y", "z", "w"].map((c, i) =>
      `      ${array(`(${k} + ${i}u) * ${pitch}u + ${x4}`)} = vec4f(${
        values.map((value) => `${value}.${c}`).join(", ")
      });`
    ).join("\n");
  const parts = [{
    guard,
    load: `      let k = k0 + ${k};\n${lanes.map(load).join("\n")}`,
    values: lanes.map((lane) => `part${lane}`),
    store,
  }];
  return { prepare, parts };
}
