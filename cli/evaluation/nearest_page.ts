/**
 * A page that shows samples beside their nearest training pictures, the most suspicious first. It is
 * one file: pictures are in it, there is no script, and it follows the system to light or dark.
 */
import { encodePng } from "@dit/data";
import { escapeHtml } from "../shared/html.ts";
import { type Memorisation, standingOut } from "./memorisation.ts";
import type { Neighbours } from "./nearest.ts";
import type { Pictures } from "./pictures.ts";

/** Samples that the page shows. */
const SHOWN = 60;
/** Training pictures beside each. */
const BESIDE = 5;

/** What the page shows. */
export interface NearestPage {
  /** Where the samples are from. */
  readonly title: string;
  readonly samples: Pictures;
  /** Of each sample. */
  readonly neighbours: readonly Neighbours[];
  /** Where the training pictures are from. */
  readonly reference: Pictures & { readonly name: string; readonly classNames: readonly string[] };
  readonly memorisation: Memorisation;
}

/** What a verdict means, in a sentence. */
export const VERDICTS: Readonly<Record<Memorisation["verdict"], string>> = {
  new: "no sign of memorisation",
  close: "closer to training pictures than real ones are: look at the page",
  memorised: "training pictures are given back",
};

/** The page. */
export async function nearestPage(page: NearestPage): Promise<string> {
  const { title, samples, neighbours, reference, memorisation } = page;
  const { ratio, suspicious, verdict, distance, heldOutDistance } = memorisation;
  const order = suspects(neighbours).slice(0, SHOWN);
  const cards = await Promise.all(order.map((index, rank) => card(page, index, rank + 1)));
  const percent = (part: number) => `${(100 * part).toFixed(1)} %`;
  const figures = [
    ["distance to the nearest training picture", distance.toFixed(4)],
    ["of held-out real pictures", heldOutDistance.toFixed(4)],
    ["ratio", ratio.toFixed(2)],
    ["suspicious samples (1 % of real ones)", percent(suspicious)],
  ].map(([name, value]) => `<div><dt>${name}</dt><dd>${value}</dd></div>`);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Nearest training pictures of ${escapeHtml(title)}</title>
<style>
${STYLE}
</style>
</head>
<body>
<header>
<h1>Nearest training pictures</h1>
<p>${samples.count.toLocaleString("en")} samples of <code>${escapeHtml(title)}</code> among ${
    reference.count.toLocaleString("en")
  } pictures of <code>${escapeHtml(reference.name)}</code>.
<strong class="${verdict}">${VERDICTS[verdict][0]!.toUpperCase()}${
    VERDICTS[verdict].slice(1)
  }.</strong></p>
<dl>${figures.join("")}</dl>
<p>Each sample, framed, stands beside the training pictures nearest to it, with their distances (of
pixels, at a size of 16). Those of which one training picture stands out most are first: a sample that
was memorised has a copy beside it, and a distance much smaller than the others.</p>
</header>
<main>
${cards.join("\n")}
</main>
</body>
</html>
`;
}

/** Numbers of samples, those first of which the nearest picture stands out most. */
export function suspects(neighbours: readonly Neighbours[]): number[] {
  const standing = neighbours.map(standingOut);
  return Array.from(neighbours.keys()).sort((a, b) => standing[a]! - standing[b]! || a - b);
}

async function card(
  { samples, neighbours, reference }: NearestPage,
  index: number,
  rank: number,
): Promise<string> {
  const { indices, distances } = neighbours[index]!;
  const name = (label: number) => escapeHtml(reference.classNames[label] ?? String(label));
  const label = name(samples.labels[index]!);
  const beside = await Promise.all(
    indices.slice(0, BESIDE).map(async (picture, i) => {
      const text = `training picture ${picture}, class ${name(reference.labels[picture]!)}`;
      const source = await dataUrl(reference, picture);
      return `<figure><img src="${source}" alt="${text}" title="${text}">` +
        `<figcaption>${distances[i]!.toFixed(3)}</figcaption></figure>`;
    }),
  );
  const source = await dataUrl(samples, index);
  const stands = standingOut(neighbours[index]!).toFixed(2);
  return `<article>
<h2>${rank}. Sample ${index} <small>class ${label}, nearest at ${stands} of the mean</small></h2>
<div><figure class="sample"><img src="${source}" alt="sample ${index}, class ${label}">` +
    `<figcaption>sample</figcaption></figure>${beside.join("")}</div>
</article>`;
}

/** A picture as a PNG in an address. */
async function dataUrl({ size, pixels }: Pictures, index: number): Promise<string> {
  const [height, width, channels] = size;
  const bytes = height * width * channels;
  const one = pixels.subarray(index * bytes, (index + 1) * bytes);
  return `data:image/png;base64,${(await encodePng(one, width, height, channels)).toBase64()}`;
}

const STYLE =
  `:root { color-scheme: light dark; --line: #8886; --accent: light-dark(#1d4ed8, #93c5fd);
  --good: light-dark(#15803d, #4ade80); --bad: light-dark(#b91c1c, #f87171); --fair: light-dark(#a16207, #facc15); }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 84rem; margin: 2rem auto; padding: 0 1rem; }
h1 { margin: 0; } header p { max-width: 48rem; }
.new { color: var(--good); } .close { color: var(--fair); } .memorised { color: var(--bad); }
dl { display: flex; flex-wrap: wrap; gap: .5rem 2rem; }
dt { font-size: .8rem; opacity: .75; } dd { margin: 0; font-size: 1.2rem; }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(24rem, 100%), 1fr)); gap: 1rem; }
article { border: 1px solid var(--line); border-radius: .5rem; padding: .6rem .8rem; min-width: 0; }
h2 { font-size: .95rem; margin: 0 0 .4rem; } small { font-weight: 400; opacity: .75; }
article div { display: grid; grid-template-columns: repeat(6, 1fr); gap: .4rem; }
figure { margin: 0; } figcaption { font-size: .75rem; text-align: center; opacity: .85; }
img { display: block; width: 100%; image-rendering: pixelated; border-radius: .2rem; outline: 1px solid var(--line); }
.sample img { outline: 3px solid var(--accent); }`;
