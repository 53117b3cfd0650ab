/**
 * report.html: a page to watch a run on. Curves are SVG, pictures files beside the page; there is
 * no script.
 */
import { escapeHtml } from "../shared/html.ts";
import { duration, rateText } from "../shared/progress.ts";
import type { CurveOf } from "./curve.ts";
import { type Evaluation, EVALUATION_CURVES, isComparable, isEvaluation } from "./evaluation.ts";
import type { Line, Metrics } from "./metrics.ts";
import { type Column, Series } from "./series.ts";

/** One of the charts of a page, of the metrics of training. */
export type Curve = CurveOf<Metrics>;

/** Curves of every kind of trainee. */
export const COMMON_CURVES: readonly Curve[] = [
  { title: "Speed", unit: "images a second", value: (m) => m.imagesPerSecond },
  {
    title: "Gradient norm",
    unit: "before clipping",
    value: (m) => m.gradNorm,
    logarithmic: true,
  },
  { title: "Learning rate", unit: "", value: (m) => m.lr },
];

/** Curves with what is drawn of them. */
type Drawn<Of> = readonly (readonly [CurveOf<Of>, Series])[];

function empty<Of>(curves: readonly CurveOf<Of>[]): Drawn<Of> {
  return curves.map((curve) => [curve, new Series(WIDTH)]);
}

function addTo<Of extends { readonly step: number }>(drawn: Drawn<Of>, line: Of): void {
  for (const [{ value, logarithmic }, series] of drawn) {
    const y = value(line) ?? NaN;
    series.add(line.step, logarithmic ? Math.log10(y) : y); // of 0 and less: not finite
  }
}

/** What a page needs of all lines of metrics, however many there are. */
export class History {
  /** What is drawn. */
  readonly curves: Drawn<Metrics>;
  #last: Metrics | undefined;
  #evaluations: Drawn<Evaluation> = empty(EVALUATION_CURVES);
  /** By their steps: those that can be compared with the last one. */
  readonly #comparable = new Map<number, Evaluation>();
  #lastEvaluation: Evaluation | undefined;

  /** Of a run that has measured nothing yet. */
  constructor(curves: readonly Curve[]) {
    this.curves = empty(curves);
  }

  /** The last line of training. */
  get last(): Metrics | undefined {
    return this.#last;
  }

  /** Evaluations that were measured as the last one was. */
  get evaluations(): { readonly curves: Drawn<Evaluation>; readonly last: Evaluation | undefined } {
    return { curves: this.#evaluations, last: this.#lastEvaluation };
  }

  /** The evaluation of a step, where it was measured as the last one was. */
  evaluationAt(step: number): Evaluation | undefined {
    return this.#comparable.get(step);
  }

  /** Adds a line. */
  add(line: Line): void {
    if (isEvaluation(line)) this.#addEvaluation(line);
    else addTo(this.curves, this.#last = line);
  }

  #addEvaluation(evaluation: Evaluation): void {
    const last = this.#lastEvaluation;
    if (last && !isComparable(last, evaluation)) { // flags were changed: the curves begin anew
      this.#evaluations = empty(EVALUATION_CURVES);
      this.#comparable.clear();
    }
    this.#lastEvaluation = evaluation;
    this.#comparable.set(evaluation.step, evaluation);
    addTo(this.#evaluations, evaluation);
  }
}

/** What the page shows. */
export interface Report {
  /** Such as `000-DiT-Mini-4`. */
  readonly title: string;
  /** What is trained, on what, where: a line each. */
  readonly summary: readonly string[];
  /** Steps of the whole run. */
  readonly steps: number;
  readonly history: History;
  /** What the pictures are called. */
  readonly pictures: string;
  /** Steps after which pictures were drawn. */
  readonly drawn: readonly number[];
  /** The file of a step's pictures, as seen from the page. */
  readonly pictureOf: (step: number) => string;
  /** The line above the pictures. */
  readonly caption: string;
  /** The step of the best checkpoint that is kept; null for none. */
  readonly best?: number | null;
  /** How the run ended; null while it runs, when the page reloads itself. */
  readonly ended: string | null;
}

/** Seconds between two reloads of the page of a running run. */
const REFRESH = 10;

/** Grids that are shown; of more, an even choice that has the first and the last. */
const MAX_GRIDS = 12;

const [WIDTH, HEIGHT] = [640, 200];
const MARGIN = { left: 56, right: 12, top: 12, bottom: 28 };

/** The page. Its size and the work for it do not depend on how many lines of metrics there are. */
export function reportHtml(report: Report): string {
  const { title, summary, steps, history, ended } = report;
  const { last } = history;
  const done = last?.step ?? 0;
  const left = last && ended === null
    ? `, about ${duration((steps - done) / last.stepsPerSecond)} left`
    : "";
  const state = ended ??
    `step ${done.toLocaleString("en")} of ${steps.toLocaleString("en")}${left}`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
${ended === null ? `<meta http-equiv="refresh" content="${REFRESH}">\n` : ""}<title>${
    escapeHtml(title)
  }</title>
<style>
${STYLE}
</style>
</head>
<body>
<header>
<h1>${escapeHtml(title)}</h1>
${summary.map((line) => `<p>${escapeHtml(line)}</p>`).join("\n")}
<p class="state">${escapeHtml(state)}</p>
<progress max="${steps}" value="${done}"></progress>
${last ? figures(last) : ""}
</header>
<main>
${history.curves.map(([curve, series]) => chart(curve, series)).join("\n")}
</main>
${evaluations(report)}
${grids(report)}
</body>
</html>
`;
}

function figures(last: Metrics): string {
  const rows: [string, string][] = [
    ["loss", last.loss.toPrecision(4)],
    ["speed", rateText(last.imagesPerSecond, "images")],
    ["trained for", duration(last.seconds)],
    ["tensors at most", `${(last.peakBytes / 1e6).toFixed(0)} MB`],
    ["waiting for data", `${(100 * last.waiting).toFixed(1)} %`],
  ];
  if (last.skipped !== undefined) rows.push(["steps left out", String(last.skipped)]);
  if (last.damaged !== undefined) rows.push(["damaged images left out", String(last.damaged)]);
  const cells = rows.map(([name, value]) => `<div><dt>${name}</dt><dd>${value}</dd></div>`);
  return `<dl>${cells.join("")}</dl>`;
}

function evaluations({ history, best = null }: Report): string {
  const { curves, last } = history.evaluations;
  if (!last) return "";
  const { features, samples, sampling } = last;
  const measured = `${
    samples.toLocaleString("en")
  } samples (${sampling}) by features of ${features}.`;
  const kept = best === null ? "" : ` Step ${best.toLocaleString("en")} has the least Fréchet ` +
    "distance so far and is kept as best.safetensors.";
  return `<section>\n<h2>Evaluation</h2>\n<p>${escapeHtml(measured + kept)}</p>\n<div>\n${
    curves.map(([curve, series]) => chart(curve, series)).join("\n")
  }\n</div>\n</section>`;
}

function grids({ pictures, drawn, pictureOf, caption }: Report): string {
  if (drawn.length === 0) return "";
  const figures = choose(drawn, MAX_GRIDS).toReversed().map((step) =>
    `<figure><img alt="${pictures} after ${step} steps" src="${
      escapeHtml(pictureOf(step))
    }"><figcaption>after ${step.toLocaleString("en")} steps</figcaption></figure>`
  );
  const said = caption === "" ? "" : `<p>${escapeHtml(caption)}</p>\n`;
  return `<section>\n<h2>${escapeHtml(pictures)}</h2>\n${said}${figures.join("\n")}\n</section>`;
}

/** `count` of `items` at most, evenly, the first and the last among them. */
function choose<T>(items: readonly T[], count: number): T[] {
  if (items.length <= count) return [...items];
  return Array.from(
    { length: count },
    (_, i) => items[Math.round(i * (items.length - 1) / (count - 1))]!,
  );
}

/** The curve over steps that a chart shows. */
function chart(
  { title, unit, logarithmic = false, smooth = false }: Omit<CurveOf<never>, "value">,
  series: Series,
): string {
  const { columns, first, last } = series;
  if (first === last || columns.length === 0) return "";
  let [lowest, high] = [Infinity, -Infinity];
  for (const column of columns) {
    lowest = Math.min(lowest, column.low);
    high = Math.max(high, column.high);
  }
  const low = logarithmic ? lowest : Math.min(0, lowest);
  const inner = {
    width: WIDTH - MARGIN.left - MARGIN.right,
    height: HEIGHT - MARGIN.top - MARGIN.bottom,
  };
  const px = (x: number) => MARGIN.left + (x - first) / (last - first) * inner.width;
  const py = (y: number) => MARGIN.top + (high - y) / (high - low || 1) * inner.height;
  const point = (x: number, y: number) => `${px(x).toFixed(1)},${py(y).toFixed(1)}`;
  const measured = columns.flatMap(({ places, low, high, count }) => {
    const ends = low === high ? [low] : [low, high];
    return ends.map((y) => point(places / count, y));
  });
  const ticks = Array.from({ length: 5 }, (_, i) => low + (high - low) * i / 4).map((at) => {
    const y = py(at).toFixed(1);
    const label = short(logarithmic ? 10 ** at : at);
    return `<line x1="${MARGIN.left}" x2="${WIDTH - MARGIN.right}" y1="${y}" y2="${y}"/>` +
      `<text x="${MARGIN.left - 6}" y="${y}" class="y">${label}</text>`;
  });
  const steps = Array.from({ length: 5 }, (_, i) => first + (last - first) * i / 4).map((at, i) =>
    `<text x="${px(at).toFixed(1)}" y="${HEIGHT - 8}" class="${i === 4 ? "end" : "x"}">${
      Math.round(at).toLocaleString("en")
    }</text>`
  );
  const means = smoothed(columns).map(([x, y]) => point(x, y));
  return `<figure>
<figcaption>${escapeHtml(title)}${unit ? ` <small>${escapeHtml(unit)}</small>` : ""}</figcaption>
<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escapeHtml(title)}">
${ticks.join("")}${steps.join("")}
<polyline points="${measured.join(" ")}"${smooth ? ' class="faint"' : ""}/>
${smooth ? `<polyline points="${means.join(" ")}"/>` : ""}
</svg>
</figure>`;
}

/** A running mean whose window grows to a tenth of the columns: places and values. */
function smoothed(columns: readonly Column[]): [number, number][] {
  const keep = 1 - 1 / Math.max(1, Math.min(5, columns.length / 20));
  let mean = columns[0]!.sum / columns[0]!.count;
  return columns.map(({ places, sum, count }) => {
    mean = keep * mean + (1 - keep) * sum / count;
    return [places / count, mean];
  });
}

function short(value: number): string {
  if (value === 0) return "0";
  return Math.abs(value) < 1e-3 || Math.abs(value) >= 1e5
    ? value.toExponential(1)
    : String(Number(value.toPrecision(3)));
}

const STYLE = `:root { color-scheme: light dark; --line: #2563eb; --grid: #8884; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 84rem; margin: 2rem auto; padding: 0 1rem; }
h1 { margin: 0; } h2 { margin: 1.5rem 0 .5rem; }
header p { margin: .15rem 0; white-space: pre-wrap; overflow-wrap: anywhere; font-family: ui-monospace, monospace; } .state { font-weight: 600; }
progress { width: 100%; height: .5rem; }
dl { display: flex; flex-wrap: wrap; gap: .5rem 2rem; }
dt { font-size: .8rem; opacity: .7; } dd { margin: 0; font-size: 1.2rem; }
main, section div { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(30rem, 100%), 1fr)); gap: 1rem; }
section { clear: both; } section > figure { display: inline-block; }
figure { margin: 0 1rem 1rem 0; } figcaption { font-weight: 600; margin-bottom: .25rem; }
section img { max-width: 100%; image-rendering: pixelated; min-width: 22rem; }
svg { width: 100%; height: auto; } svg line { stroke: var(--grid); }
svg text { font-size: 11px; fill: currentColor; opacity: .7; }
.y { text-anchor: end; dominant-baseline: middle; } .x { text-anchor: middle; } .end { text-anchor: end; }
polyline { fill: none; stroke: var(--line); stroke-width: 2; } .faint { opacity: .3; stroke-width: 1; }`;
