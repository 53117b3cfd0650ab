/** What `deno task bench distributed --json` found, from its file. */
import type { Row } from "../measure.ts";
import type { Measured } from "./costs.ts";

/** The file, in the repository. */
const FILE = new URL("../results/distributed.json", import.meta.url);

/** The figures of a file. */
export class Measurements {
  readonly #tables: Readonly<Record<string, readonly Row[]>>;

  /** @param tables By title, as the suite names them. */
  constructor(tables: Readonly<Record<string, readonly Row[]>>) {
    this.#tables = tables;
  }

  /** Those of the repository. */
  static async read(): Promise<Measurements> {
    return new Measurements(JSON.parse(await Deno.readTextFile(FILE)).tables);
  }

  /**
   * A table.
   *
   * @throws {Error} where there is none of this title.
   */
  table(title: string): readonly Row[] {
    const rows = this.#tables[title];
    if (!rows) throw new Error(`expected a table "${title}" in ${FILE.pathname}`);
    return rows;
  }

  /** Times of all-reduces that follow each other, by their size. */
  allReduce(mpi: string, ranks: number): Measured[] {
    return this.table(`all-reduce, ${mpi}, ${ranks} ranks`).map((row) => ({
      bytes: Number(row["KB"]) * 1024,
      seconds: Number(row["in a row, ms"]) / 1000,
    }));
  }

  /** Ways to train. */
  training(model: string, batch: number, mpi: string): readonly Row[] {
    return this.table(`training ${model}, batch ${batch}, ${mpi}`);
  }
}
