/** A picture of curves, both axes by powers of two. */

/** Points of a curve. */
type Curve = readonly { readonly ranks: number; readonly images: number }[];

const [WIDTH, HEIGHT] = [720, 400];
const PLOT = { left: 60, right: 470, top: 20, bottom: 350 };
const COLOURS = ["#999999", "#0b6e4f", "#3a7bd5", "#b8562e", "#7a3e9d"];

/**
 * Images a second by number of GPUs, as SVG that `deno fmt` leaves as it is; curves are named in their
 * order from the top.
 */
export function chart(curves: ReadonlyMap<string, Curve>): string {
  const all = [...curves.values()].flat();
  const most = Math.max(...all.map(({ ranks }) => ranks));
  const share = (value: number, from: number, to: number) =>
    Math.log(value / from) / Math.log(to / from);
  const x = (ranks: number) =>
    Math.round(PLOT.left + share(ranks, 1, most) * (PLOT.right - PLOT.left));
  const y = (images: number) =>
    Math.round(PLOT.bottom - share(images, LOW, HIGH) * (PLOT.bottom - PLOT.top));
  const text = (x: number, y: number, anchor: string, words: string | number, fill = "#333333") =>
    `    <text x="${x}" y="${y}" text-anchor="${anchor}" fill="${fill}">${words}</text>`;
  const grid = powers(LOW, HIGH).map((images) =>
    `    <path d="M${PLOT.left} ${y(images)}H${PLOT.right}" stroke="#e4e4e4" />`
  );
  const labels = [
    ...powers(1, most).map((ranks) => text(x(ranks), PLOT.bottom + 18, "middle", ranks)),
    ...powers(LOW, HIGH).map((images) => text(PLOT.left - 8, y(images) + 4, "end", images)),
    text((PLOT.left + PLOT.right) / 2, PLOT.bottom + 40, "middle", "GPUs, 8 a machine"),
    text(PLOT.left, 12, "start", "images/s"),
  ];
  const paths = [...curves.values()].map((points, i) => {
    const path = points.map(({ ranks, images }) => `${x(ranks)} ${y(images)}`).join("L");
    return `    <path d="M${path}" stroke="${COLOURS[i % COLOURS.length]}" />`;
  });
  const names = [...curves.keys()].map((name, i) =>
    text(PLOT.right + 14, 60 + 22 * i, "start", name, COLOURS[i % COLOURS.length])
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}">`,
    `  <rect width="${WIDTH}" height="${HEIGHT}" fill="#ffffff" />`,
    '  <g fill="none" stroke-width="2">',
    ...grid,
    ...paths,
    "  </g>",
    '  <g font-family="sans-serif" font-size="12">',
    ...labels,
    ...names,
    "  </g>",
    "</svg>",
    "",
  ].join("\n");
}

/** Images a second at the lower and the upper end. */
const [LOW, HIGH] = [16, 4096];

function powers(from: number, to: number): number[] {
  return from > to ? [] : [from, ...powers(2 * from, to)];
}
