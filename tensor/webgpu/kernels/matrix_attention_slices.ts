/** Slices of operands in workgroup memory, and what matrices of them add up to, for attention. */
import { type AttentionTile, pitchesOf, subgroupRows, tileRows } from "./matrix_attention_plan.ts";
import { type HeadOperand, lines, range } from "./matrix_attention_tile.ts";
import { VECTOR } from "./matrix_plan.ts";

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
