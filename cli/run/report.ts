/**
 * report.html: one page with nothing outside of it, on which a run can be looked at while it goes
 * on. Curves are SVG, pictures data URIs; there is no script.
 */
import { duration } from "../shared/progress.ts";
import type { Metrics } from "./metrics.ts";

/** What the page shows. */
export interface Report {
  /** Such as `000-DiT-Mini-4`. */
  readonly title: string;
  /** What is trained, on what, where: a line each. */
  readonly about: readonly string[];
  /** Steps of the whole run. */
  readonly steps: number;
  readonly metrics: readonly Metrics[];
  readonly samples: readonly { readonly step: number; readonly png: Uint8Array }[];
  /** Names of the columns of the grids. */
  readonly columns: readonly string[];
  /** How the run ended; null while it goes on, when the page loads itself again. */
  readonly ended: string | null;
}

/** Seconds after which a page of a run that goes on loads itself again. */
const REFRESH = 10;

/** Grids that are shown; of more, an even choice that has the first and the last. */
const MAX_GRIDS = 12;

const [WIDTH, HEIGHT] = [640, 200];
const MARGIN = { left: 56, right: 12, top: 12, bottom: 28 };

/** The page. */
export function reportHtml(report: Report): string {
  const { title, about, steps, metrics, ended } = report;
  const last = metrics.at(-1);
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
    escape(title)
  }</title>
<style>
${STYLE}
</style>
</head>
<body>
<header>
<h1>${escape(title)}</h1>
${about.map((line) => `<p>${escape(line)}</p>`).join("\n")}
<p class="state">${escape(state)}</p>
<progress max="${steps}" value="${done}"></progress>
${last ? figures(last) : ""}
</header>
<main>
${chart("Loss", "mean squared error", metrics, (m) => m.loss, { logarithmic: true, smooth: true })}
${chart("Speed", "images a second", metrics, (m) => m.imagesPerSecond, {})}
${chart("Gradient norm", "before clipping", metrics, (m) => m.gradNorm, { logarithmic: true })}
${chart("Learning rate", "", metrics, (m) => m.lr, {})}
</main>
${grids(report)}
</body>
</html>
`;
}

function figures(last: Metrics): string {
  const rows: [string, string][] = [
    ["loss", last.loss.toPrecision(4)],
    ["speed", `${last.imagesPerSecond.toPrecision(3)} images/s`],
    ["trained for", duration(last.seconds)],
    ["tensors at most", `${(last.peakBytes / 1e6).toFixed(0)} MB`],
    ["waiting for data", `${(100 * last.waiting).toFixed(1)} %`],
  ];
  if (last.skipped !== undefined) rows.push(["steps left out", String(last.skipped)]);
  if (last.damaged !== undefined) rows.push(["damaged images left out", String(last.damaged)]);
  const cells = rows.map(([name, value]) => `<div><dt>${name}</dt><dd>${value}</dd></div>`);
  return `<dl>${cells.join("")}</dl>`;
}

function grids({ samples, columns }: Report): string {
  if (samples.length === 0) return "";
  const shown = choose(samples, MAX_GRIDS);
  const names = columns.length > 0
    ? `<p>One column a class: ${columns.map(escape).join(", ")}.</p>`
    : "";
  const figures = shown.toReversed().map(({ step, png }) =>
    `<figure><img alt="Samples after ${step} steps" src="data:image/png;base64,${png.toBase64()}"><figcaption>after ${
      step.toLocaleString("en")
    } steps</figcaption></figure>`
  );
  return `<section>\n<h2>Samples</h2>\n${names}\n${figures.join("\n")}\n</section>`;
}

/** `count` of `items` at most, evenly, the first and the last among them. */
function choose<T>(items: readonly T[], count: number): T[] {
  if (items.length <= count) return [...items];
  return Array.from(
    { length: count },
    (_, i) => items[Math.round(i * (items.length - 1) / (count - 1))]!,
  );
}

interface ChartOptions {
  readonly logarithmic?: boolean;
  /** Whether a smoothed curve is drawn over the measured one. */
  readonly smooth?: boolean;
}

/** A curve over steps. */
function chart(
  title: string,
  unit: string,
  metrics: readonly Metrics[],
  value: (m: Metrics) => number,
  { logarithmic = false, smooth = false }: ChartOptions,
): string {
  const points = metrics
    .map((m) => ({ x: m.step, y: value(m) }))
    .filter(({ y }) => Number.isFinite(y) && (!logarithmic || y > 0));
  if (points.length < 2) return "";
  const scaled = (y: number): number => logarithmic ? Math.log10(y) : y;
  const ys = points.map(({ y }) => scaled(y));
  const [high, lowest] = [Math.max(...ys), Math.min(...ys)];
  const low = logarithmic ? lowest : Math.min(0, lowest);
  const [first, last] = [points[0]!.x, points.at(-1)!.x];
  const inner = {
    width: WIDTH - MARGIN.left - MARGIN.right,
    height: HEIGHT - MARGIN.top - MARGIN.bottom,
  };
  const px = (x: number) => MARGIN.left + (x - first) / (last - first || 1) * inner.width;
  const py = (y: number) => MARGIN.top + (high - y) / (high - low || 1) * inner.height;
  const line = (values: readonly number[]) =>
    values.map((y, i) => `${px(points[i]!.x).toFixed(1)},${py(y).toFixed(1)}`).join(" ");
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
  return `<figure>
<figcaption>${title}${unit ? ` <small>${unit}</small>` : ""}</figcaption>
<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${title}">
${ticks.join("")}${steps.join("")}
<polyline points="${line(ys)}"${smooth ? ' class="faint"' : ""}/>
${smooth ? `<polyline points="${line(smoothed(ys))}"/>` : ""}
</svg>
</figure>`;
}

/** A running mean whose window grows to a tenth of the points. */
function smoothed(values: readonly number[]): number[] {
  const keep = 1 - 1 / Math.max(1, Math.min(5, values.length / 20));
  let mean = values[0]!;
  return values.map((v) => mean = keep * mean + (1 - keep) * v);
}

function short(value: number): string {
  if (value === 0) return "0";
  return Math.abs(value) < 1e-3 || Math.abs(value) >= 1e5
    ? value.toExponential(1)
    : String(Number(value.toPrecision(3)));
}

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
};

function escape(text: string): string {
  return text.replace(/[&<>"]/g, (c) => ENTITIES[c]!);
}

const STYLE = `:root { color-scheme: light dark; --line: #2563eb; --grid: #8884; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 84rem; margin: 2rem auto; padding: 0 1rem; }
h1 { margin: 0; } h2 { margin: 1.5rem 0 .5rem; }
header p { margin: .15rem 0; white-space: pre-wrap; overflow-wrap: anywhere; font-family: ui-monospace, monospace; } .state { font-weight: 600; }
progress { width: 100%; height: .5rem; }
dl { display: flex; flex-wrap: wrap; gap: .5rem 2rem; }
dt { font-size: .8rem; opacity: .7; } dd { margin: 0; font-size: 1.2rem; }
main { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(30rem, 100%), 1fr)); gap: 1rem; }
section { clear: both; } section figure { display: inline-block; }
figure { margin: 0 1rem 1rem 0; } figcaption { font-weight: 600; margin-bottom: .25rem; }
section img { max-width: 100%; image-rendering: pixelated; min-width: 22rem; }
svg { width: 100%; height: auto; } svg line { stroke: var(--grid); }
svg text { font-size: 11px; fill: currentColor; opacity: .7; }
.y { text-anchor: end; dominant-baseline: middle; } .x { text-anchor: middle; } .end { text-anchor: end; }
polyline { fill: none; stroke: var(--line); stroke-width: 2; } .faint { opacity: .3; stroke-width: 1; }`;
