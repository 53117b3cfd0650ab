/**
 * A colour data set that comes over npm: emoji as four makers have drawn them, in classes of what
 * they show and a style, such as `hearts-noto`. They come as SVG in the packages of Iconify, and are
 * drawn at any size by sharp.
 */
import type { CropStoreOptions } from "./crop_store.ts";
import { ImageArray } from "./dataset.ts";
import { DECODER } from "./decode.ts";
import { EMOJI_LIST, type ListedEmoji } from "./emoji_classes.ts";
import {
  chooseEmoji,
  EMOJI_STYLES,
  type EmojiDrawing,
  emojiSvg,
  type IconSet,
} from "./emoji_sets.ts";
import { ImagePool } from "./image_pool.ts";
import { KeptDrawings } from "./kept_drawings.ts";
import { npmFolder } from "./npm_package.ts";
import { type FolderPicture, type MakeFolderOptions, makePictureFolder } from "./picture_folder.ts";

/** What emoji need to be made. */
export const EMOJI_PACKAGES: readonly string[] = [
  ...EMOJI_STYLES.map((style) => style.package),
  EMOJI_LIST,
];

/** How emoji are drawn. */
export interface EmojiOptions {
  /** Side of the images in pixels; 64 by default. */
  readonly size?: number | undefined;
  /** Threads that draw; 2 by default, 0 for the calling thread itself. */
  readonly workers?: number;
  /** Called after each image with the number drawn, and of how many. */
  readonly onProgress?: (done: number, total: number) => void;
  /** Where drawn images are kept for later processes; nowhere by default. */
  readonly keep?: CropStoreOptions | undefined;
}

/** Another one is due with every change of which pictures are drawn, and of how. */
const VERSION = 2;

/**
 * Draws emoji: `[3, size, size]` on white, in classes of what they show and a style.
 *
 * @throws {DataError} If the packages or sharp cannot be had; says what to do.
 */
export async function loadEmoji(options: EmojiOptions = {}): Promise<ImageArray> {
  return await drawEmoji(await loadDrawings(), options);
}

/** Images of emoji, in the order of their classes' names. */
export async function drawEmoji(
  drawings: readonly EmojiDrawing[],
  { size = 64, workers = 2, onProgress, keep }: EmojiOptions = {},
): Promise<ImageArray> {
  requireSize(size);
  const classNames = [...new Set(drawings.map(({ className }) => className))].sort();
  const numbers = new Map(classNames.map((name, label) => [name, label]));
  const key = [VERSION, EMOJI_PACKAGES, DECODER, size, drawings.map(({ name }) => name)];
  const kept = keep && await KeptDrawings.of(`emoji-${size}`, key, keep);
  let pixels = await kept?.read(drawings.length * 3 * size * size);
  if (pixels === undefined) {
    pixels = await draw(drawings, { size, workers, onProgress });
    await kept?.write(pixels);
  }
  return new ImageArray({
    pixels,
    labels: Int32Array.from(drawings, ({ className }) => numbers.get(className)!),
    classNames,
    channels: 3,
    height: size,
    width: size,
    flippable: false, // mirrored letters and flags are others
  });
}

/** Their pixels, one after the other. */
async function draw(
  drawings: readonly EmojiDrawing[],
  { size, workers, onProgress }: {
    readonly size: number;
    readonly workers: number;
    readonly onProgress: EmojiOptions["onProgress"];
  },
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = 3 * size * size;
  const pixels = new Uint8Array(drawings.length * bytes);
  await using pool = new ImagePool(workers);
  let done = 0;
  await Promise.all(drawings.map(async (drawing, i) => {
    const image = await pool.load({ svg: emojiSvg(drawing, size), size });
    pixels.set(image.pixels, i * bytes);
    onProgress?.(++done, drawings.length);
  }));
  return pixels;
}

/**
 * Makes a folder of PNG images of emoji, a subfolder a class: to look at, and for `ImageFolder`.
 *
 * @param folder Must not exist yet.
 * @returns How many images each class has.
 * @throws {DataError} If the folder exists, there is no such class, or the packages cannot be had.
 */
export async function makeEmojiFolder(
  folder: string,
  options: Omit<MakeFolderOptions, "notice"> = {},
): Promise<Map<string, number>> {
  return await drawEmojiFolder(await loadDrawings(), folder, options);
}

/** A folder of PNG images of some emoji. */
export async function drawEmojiFolder(
  drawings: readonly EmojiDrawing[],
  folder: string,
  { size = 64, ...options }: Omit<MakeFolderOptions, "notice">,
): Promise<Map<string, number>> {
  requireSize(size);
  await using pool = new ImagePool(2);
  const pictures: FolderPicture[] = drawings.map((drawing) => ({
    name: drawing.name,
    className: drawing.className,
    draw: async () => (await pool.load({ svg: emojiSvg(drawing, size), size })).pixels,
  }));
  return await makePictureFolder(folder, pictures, { ...options, size, notice: NOTICE });
}

/** Where the pictures are from, for whoever has a folder of them. */
const NOTICE = [
  "These pictures were drawn from the SVG of the following sets, over npm:",
  "",
  ...EMOJI_STYLES.map(({ style, by, source, licence, package: name }) =>
    `- ${style}: ${by}, ${source}, ${licence} (${name.replace("npm:", "")})`
  ),
  "",
].join("\n");

function requireSize(size: number): void {
  if (Number.isInteger(size) && size >= 1) return;
  throw new RangeError(`emoji: expected a size of 1 pixel or more but got ${size}`);
}

/**
 * What is drawn.
 *
 * @throws {DataError} If the packages cannot be had.
 */
export async function loadDrawings(): Promise<EmojiDrawing[]> {
  const read = async (folder: URL, file: string) =>
    JSON.parse(await Deno.readTextFile(new URL(file, folder)));
  const sets: IconSet[] = [];
  for (const { style, package: name } of EMOJI_STYLES) {
    const folder = await npmFolder(name);
    const { categories } = await read(folder, "metadata.json") as Pick<IconSet, "categories">;
    sets.push({ ...await read(folder, "icons.json") as IconSet, style, categories });
  }
  const list = await read(await npmFolder(EMOJI_LIST), "emoji.json") as ListedEmoji[];
  return chooseEmoji(sets, list);
}
