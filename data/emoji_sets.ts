/** Which pictures of Iconify's sets of emoji are drawn, in which class, and from which SVG. */
import { EmojiClasses, type ListedEmoji } from "./emoji_classes.ts";

/** A style of emoji. */
export interface EmojiStyle {
  /** What it is called in the names of classes. */
  readonly style: string;
  /** The npm package; a variable, so that it is downloaded only where emoji are asked for. */
  readonly package: string;
  /** Who drew them. */
  readonly by: string;
  /** Where the originals are. */
  readonly source: string;
  /** As SPDX names it. */
  readonly licence: string;
}

/** The styles. */
export const EMOJI_STYLES: readonly EmojiStyle[] = [
  {
    style: "noto",
    package: "npm:@iconify-json/noto@1.2.9",
    by: "Google",
    source: "https://github.com/googlefonts/noto-emoji",
    licence: "Apache-2.0",
  },
  {
    style: "twemoji",
    package: "npm:@iconify-json/twemoji@1.2.5",
    by: "Twitter and contributors",
    source: "https://github.com/jdecked/twemoji",
    licence: "CC-BY-4.0",
  },
  {
    style: "fluent",
    package: "npm:@iconify-json/fluent-emoji-flat@1.2.6",
    by: "Microsoft",
    source: "https://github.com/microsoft/fluentui-emoji",
    licence: "MIT",
  },
  {
    style: "emojione",
    package: "npm:@iconify-json/emojione@1.2.3",
    by: "Emoji One",
    source: "https://github.com/EmojiTwo/emojitwo",
    licence: "CC-BY-4.0",
  },
];

/** Where a picture is, in the units of its SVG; those of the set where an icon does not say it. */
interface Box {
  readonly left?: number;
  readonly top?: number;
  readonly width?: number;
  readonly height?: number;
}

/** What is used of a set: of its icons.json, and the categories of its metadata.json. */
export interface IconSet extends Box {
  readonly style: string;
  readonly icons: Readonly<Record<string, Box & { readonly body: string; readonly hidden?: true }>>;
  /** Other names, some of which stand for a mirrored picture. */
  readonly aliases?: Readonly<
    Record<string, { readonly parent: string; readonly hFlip?: true; readonly hidden?: true }>
  >;
  /** Names by category, such as "Animals & Nature". */
  readonly categories: Readonly<Record<string, readonly string[]>>;
}

/** A picture to be drawn. */
export interface EmojiDrawing {
  readonly name: string;
  /** What it shows, and its style. */
  readonly className: string;
  /** The content of the `<svg>`. */
  readonly body: string;
  readonly box: Required<Box>;
}

/** What sets call the category of people. */
const PEOPLE: ReadonlySet<string> = new Set(["people-body", "people"]);
/** Sets without the flags of countries have a handful of others, which is no class. */
const LEAST_OF_A_CLASS = 16;

/** A tone of skin in a name, of which couples have two. */
const TONE = /-(medium-light|medium-dark|medium|light|dark)(-skin-tone)?(?=-|$)/g;

/** White around a picture, as a share of the whole side. */
const MARGIN = 1 / 32;

/** A picture of a set. */
interface Picture {
  readonly name: string;
  readonly body: string;
  readonly box: Required<Box>;
  readonly category: string | undefined;
}

/**
 * Chooses pictures: all but parts of pictures, and of people, who come in five tones of skin, the
 * figure without one and one of the toned: which, a hash of its name decides. They are in the order
 * of their classes and names.
 *
 * @param list Of Unicode's names.
 */
export function chooseEmoji(
  sets: readonly IconSet[],
  list: readonly ListedEmoji[],
): EmojiDrawing[] {
  const classes = new EmojiClasses(list);
  const chosen: EmojiDrawing[] = [];
  for (const set of sets) {
    for (const { category, ...picture } of thinnedOut(set.style, picturesOf(set))) {
      const names = [picture.name, picture.name.replaceAll(TONE, "")];
      const shown = classes.classOf(names, category);
      if (shown !== undefined) chosen.push({ ...picture, className: `${shown}-${set.style}` });
    }
  }
  const counts = Map.groupBy(chosen, ({ className }) => className);
  const by = ({ className, name }: EmojiDrawing) => `${className}/${name}`;
  return chosen
    .filter(({ className }) => counts.get(className)!.length >= LEAST_OF_A_CLASS)
    .sort((a, b) => by(a) < by(b) ? -1 : 1);
}

/** The pictures of a set, those that are others mirrored included, each once. */
function picturesOf({ icons, aliases = {}, categories, ...usual }: IconSet): Picture[] {
  const categoryOf = new Map(
    Object.entries(categories).flatMap(([title, names]) => {
      const category = title.toLowerCase().replace(/ & | /g, "-");
      return names.map((name) => [name, category]);
    }),
  );
  const pictureOf = (name: string): Picture => {
    const { body, ...own } = icons[name]!;
    const { left = 0, top = 0, width = 16, height = 16 } = { ...usual, ...own };
    return { name, body, box: { left, top, width, height }, category: categoryOf.get(name) };
  };
  const isShown = (name: string) => icons[name] !== undefined && !icons[name].hidden;
  const mirrored = Object.entries(aliases)
    .filter(([, { parent, hFlip, hidden }]) => hFlip && !hidden && isShown(parent))
    .map(([name, { parent }]) => {
      const { body, box, category } = pictureOf(parent);
      const across = 2 * box.left + box.width;
      const flipped = `<g transform="translate(${across} 0) scale(-1 1)">${body}</g>`;
      return { name, body: flipped, box, category };
    });
  return [...Object.keys(icons).filter(isShown).map(pictureOf), ...mirrored];
}

/** Of pictures that differ in tones of skin, the one without and one other. */
function thinnedOut(style: string, pictures: readonly Picture[]): Picture[] {
  const names = new Set(pictures.map(({ name }) => name));
  const toned = Map.groupBy(pictures, ({ name, category }) => {
    const plain = name.replace(TONE, "");
    const isToned = plain !== name &&
      (name.includes("-skin-tone") || PEOPLE.has(category ?? "") && names.has(plain));
    return isToned ? plain : undefined;
  });
  return [...toned].flatMap(([plain, variants]) => {
    if (plain === undefined) return variants;
    const sorted = variants.toSorted((a, b) => a.name < b.name ? -1 : 1);
    return [sorted[hash(`${style}:${plain}`) % sorted.length]!];
  });
}

/** The SVG of a picture: whole and in the middle of a square of `size` pixels, with a margin. */
export function emojiSvg({ body, box }: EmojiDrawing, size: number): string {
  const { left, top, width, height } = box;
  const side = Math.max(width, height) / (1 - 2 * MARGIN);
  const view = [left + (width - side) / 2, top + (height - side) / 2, side, side];
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${size}" height="${size}" ` +
    `viewBox="${view.join(" ")}">${body}</svg>`;
}

/** FNV-1a of 32 bits, its upper bits mixed into the lower ones, which alone would follow a pattern. */
function hash(text: string): number {
  let bits = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) bits = Math.imul(bits ^ byte, 0x01000193);
  return (bits ^ bits >>> 15) >>> 0;
}
