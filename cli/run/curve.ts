/** A chart of the page of a run. */

/** One of the charts of a page, of lines of one kind. */
export interface CurveOf<Line> {
  readonly title: string;
  /** What the values are. */
  readonly unit: string;
  /** The value of a line; undefined where it has none. */
  readonly value: (line: Line) => number | undefined;
  readonly logarithmic?: boolean;
  /** Whether a smoothed curve is drawn over the measured one. */
  readonly smooth?: boolean;
}
