/** A curve of any number of points in the memory that a chart of one width needs. */

/** Points that share a column of a chart. */
export interface Column {
  /** The first one's place. */
  readonly first: number;
  /** Sum of their places. */
  readonly places: number;
  /** The least value. */
  readonly low: number;
  /** The greatest value. */
  readonly high: number;
  /** Sum of their values. */
  readonly sum: number;
  /** How many there are. */
  readonly count: number;
}

/**
 * Points in columns of equal width, which doubles whenever there are more than `limit` columns. The
 * least and the greatest value of a column are kept, so that no peak is lost.
 */
export class Series {
  readonly #limit: number;
  #columns: Column[] = [];
  #width = 1;
  #last = -Infinity;

  /** @param limit Columns at most. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Columns from left to right. */
  get columns(): readonly Column[] {
    return this.#columns;
  }

  /** Place of the first point; NaN where there is none. */
  get first(): number {
    return this.#columns[0]?.first ?? NaN;
  }

  /** Place of the last point. */
  get last(): number {
    return this.#last;
  }

  /** Adds a point to the right of all others; what is not a finite number is left out. */
  add(x: number, y: number): void {
    if (!Number.isFinite(y) || x < this.#last) return;
    this.#last = x;
    this.#put({ first: x, places: x, low: y, high: y, sum: y, count: 1 });
    while (this.#columns.length > this.#limit) {
      this.#width *= 2;
      const before = this.#columns;
      this.#columns = [];
      for (const column of before) this.#put(column);
    }
  }

  #put(column: Column): void {
    const at = this.#columns.length - 1;
    const left = this.#columns[at];
    const index = (x: number) => Math.floor(x / this.#width);
    if (left === undefined || index(left.first) !== index(column.first)) {
      this.#columns.push(column);
    } else {
      this.#columns[at] = {
        first: left.first,
        places: left.places + column.places,
        low: Math.min(left.low, column.low),
        high: Math.max(left.high, column.high),
        sum: left.sum + column.sum,
        count: left.count + column.count,
      };
    }
  }
}
