/** Curves over steps, several in one chart. */
import { h, replace, svg } from "../base/dom.ts";
import { shortNumber } from "../base/text.ts";
import { logTicks, nearest, type Point, smoothed, thinned, ticks } from "./scales.ts";

/** One of the curves of a chart. */
export interface Curve {
  readonly label: string;
  /** Which of the colours, from 0. */
  readonly colour: number;
  /** In the order of steps. */
  readonly points: readonly Point[];
}

/** How many colours the style sheet has. */
export const COLOURS = 6;

const [WIDTH, HEIGHT] = [420, 210];
const MARGIN = { left: 54, right: 14, top: 12, bottom: 26 };

/** A chart. */
export class Chart {
  /** To be put into the page. */
  readonly element: HTMLElement;
  readonly #title: string;
  readonly #isLogarithmic: boolean;
  readonly #isSmooth: boolean;
  readonly #svg = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
  readonly #cursor = svg("line", {
    class: "cursor",
    y1: MARGIN.top,
    y2: HEIGHT - MARGIN.bottom,
    visibility: "hidden",
  });
  readonly #readout = h("p", { class: "readout", "aria-hidden": "true" });
  #curves: readonly Curve[] = [];
  #range: readonly [number, number] = [0, 1];

  /** @param options `isSmooth`: whether a running mean is drawn over the values. */
  constructor(
    title: string,
    unit: string,
    options: { readonly isLogarithmic?: boolean; readonly isSmooth?: boolean } = {},
  ) {
    this.#title = title;
    this.#isLogarithmic = options.isLogarithmic ?? false;
    this.#isSmooth = options.isSmooth ?? false;
    this.#svg.addEventListener("pointermove", (event) => this.#point(event));
    this.#svg.addEventListener("pointerleave", () => this.#rest());
    this.element = h(
      "figure",
      { class: "chart" },
      h("figcaption", {}, title, unit === "" ? null : h("small", {}, ` ${unit}`)),
      this.#svg,
      this.#readout,
    );
  }

  /** Shows curves; those without points are left out. */
  show(curves: readonly Curve[]): void {
    const usable = ({ y }: Point): boolean => Number.isFinite(y) && (!this.#isLogarithmic || y > 0);
    this.#curves = curves
      .map((curve) => ({ ...curve, points: curve.points.filter(usable) }))
      .filter(({ points }) => points.length > 0);
    this.element.hidden = this.#curves.length === 0;
    if (this.element.hidden) return;
    const [first, last] = limits(this.#curves, ({ x }) => x);
    const [lowest, highest] = limits(this.#curves, ({ y }) => y);
    this.#range = [first, last];
    const low = this.#isLogarithmic ? lowest : Math.min(0, lowest);
    const [bottom, top] = [this.#scaled(low), this.#scaled(highest)];
    const px = (x: number): number => this.#px(x);
    const py = (y: number): number => {
      const share = (this.#scaled(y) - bottom) / (top - bottom || 1);
      return HEIGHT - MARGIN.bottom - share * (HEIGHT - MARGIN.top - MARGIN.bottom);
    };
    const path = (points: readonly Point[]): string =>
      points.map(({ x, y }) => `${px(x).toFixed(1)},${py(y).toFixed(1)}`).join(" ");
    const rows = this.#isLogarithmic ? logTicks(low, highest, 5) : ticks(low, highest, 4);
    replace(
      this.#svg,
      ...rows.map((y) =>
        svg(
          "g",
          { class: "grid" },
          svg("line", { x1: MARGIN.left, x2: WIDTH - MARGIN.right, y1: py(y), y2: py(y) }),
          svg("text", { x: MARGIN.left - 7, y: py(y), class: "y" }, shortNumber(y)),
        )
      ),
      ...ticks(first, last, 5).map((x) =>
        svg("text", { x: px(x), y: HEIGHT - 7, class: "x" }, x.toLocaleString("en"))
      ),
      ...this.#curves.flatMap(({ colour, points }) => {
        const shown = thinned(points, WIDTH);
        const line = (points: readonly Point[], more = ""): SVGElement =>
          svg("polyline", {
            class: `curve colour-${colour % COLOURS}${more}`,
            points: path(points),
          });
        const isSmooth = this.#isSmooth && points.length > 30;
        return isSmooth
          ? [line(shown, " faint"), line(thinned(smoothed(points), WIDTH))]
          : [line(shown)];
      }),
      this.#cursor,
    );
    this.#svg.setAttribute("aria-label", this.#summary());
    this.#rest();
  }

  #scaled(y: number): number {
    return this.#isLogarithmic ? Math.log10(y) : y;
  }

  #px(x: number): number {
    const [first, last] = this.#range;
    const width = WIDTH - MARGIN.left - MARGIN.right;
    return MARGIN.left + (x - first) / (last - first || 1) * width;
  }

  /** What a screen reader says of it. */
  #summary(): string {
    const parts = this.#curves.map(({ label, points }) => {
      const [first, last] = [points[0]!, points.at(-1)!];
      return `${label}: from ${shortNumber(first.y)} at step ${first.x} to ${
        shortNumber(last.y)
      } at step ${last.x}`;
    });
    return `${this.#title}. ${parts.join("; ")}`;
  }

  #point(event: PointerEvent): void {
    const box = this.#svg.getBoundingClientRect();
    const place = (event.clientX - box.left) / box.width * WIDTH;
    const [first, last] = this.#range;
    const share = (place - MARGIN.left) / (WIDTH - MARGIN.left - MARGIN.right);
    const x = first + Math.min(1, Math.max(0, share)) * (last - first);
    const at = this.#px(x);
    for (const name of ["x1", "x2"]) this.#cursor.setAttribute(name, String(at));
    this.#cursor.setAttribute("visibility", "visible");
    this.#say(x);
  }

  #rest(): void {
    this.#cursor.setAttribute("visibility", "hidden");
    this.#say(this.#range[1]);
  }

  #say(x: number): void {
    replace(
      this.#readout,
      ...this.#curves.map(({ label, colour, points }) => {
        const point = nearest(points, x)!;
        return h(
          "span",
          {},
          h("i", { class: `dot colour-${colour % COLOURS}` }),
          `${label} ${shortNumber(point.y)} at step ${point.x.toLocaleString("en")}`,
        );
      }),
    );
  }
}

function limits(curves: readonly Curve[], of: (point: Point) => number): [number, number] {
  let [least, most] = [Infinity, -Infinity];
  for (const { points } of curves) {
    for (const point of points) {
      least = Math.min(least, of(point));
      most = Math.max(most, of(point));
    }
  }
  return [least, most];
}
