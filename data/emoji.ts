/**
 * A colour data set that comes over npm: Microsoft's Fluent emoji (MIT; the package
 * `@lobehub/fluent-emoji-3d`), in the classes that `emoji-datasource` puts emoji in.
 */
import { join } from "@std/path";
import { centerCrop } from "./crop.ts";
import { decodeImage } from "./decode.ts";
import { DataError } from "./errors.ts";
import { exists } from "./folder.ts";
import { npmFolder } from "./npm_package.ts";
import { encodePng } from "./png.ts";

/** Variables, so that they are downloaded only where emoji are asked for. */
const PICTURES = "npm:@lobehub/fluent-emoji-3d@1.1.0";
const NAMES = "npm:emoji-datasource@16.0.0";

/** What emoji need to be made. */
export const EMOJI_PACKAGES: readonly string[] = [PICTURES, NAMES];

/** How the folder is made. */
export interface EmojiOptions {
  /** Side of the images in pixels, at most 256; 64 by default. */
  readonly size?: number;
  /** Whether people come in all five skin tones besides yellow; false by default. */
  readonly skinTones?: boolean;
  /** Classes wanted, such as `["food-drink"]`; all nine by default. */
  readonly classes?: readonly string[];
  /** Called after each image with the number written, and of how many. */
  readonly onProgress?: (done: number, total: number) => void;
}

/** What is used of an entry of emoji.json. */
interface Emoji {
  /** Code points in hexadecimal, with hyphens between. */
  readonly unified: string;
  /** The same without the marks that make a sign colourful. */
  readonly non_qualified?: string | null;
  /** Such as "Animals & Nature". */
  readonly category: string;
  readonly skin_variations?: Readonly<Record<string, Omit<Emoji, "category">>>;
}

/**
 * Makes a folder of 1,854 PNG images of emoji on white, a subfolder a class: for
 * `ImageFolder`.
 *
 * @param folder Must not exist yet.
 * @returns How many images each class has.
 * @throws {DataError} If the folder exists, there is no such class, or the packages cannot be had.
 */
export async function makeEmojiFolder(
  folder: string,
  { size = 64, skinTones = false, classes, onProgress }: EmojiOptions = {},
): Promise<Map<string, number>> {
  const pictures = await npmFolder(PICTURES);
  const names = await npmFolder(NAMES);
  const emoji = JSON.parse(await Deno.readTextFile(new URL("emoji.json", names))) as Emoji[];
  const classOf = classesOf(emoji, skinTones);
  const known = new Set(classOf.values());
  const wrong = classes?.find((name) => !known.has(name));
  if (wrong !== undefined) {
    throw new DataError(
      `emoji: expected classes of ${[...known].sort().join(", ")} but got "${wrong}"`,
    );
  }
  const chosen: { file: string; name: string }[] = [];
  for await (const { name: file } of Deno.readDir(new URL("assets/", pictures))) {
    const name = classOf.get(file.replace(/\.webp$/, ""));
    if (name !== undefined && (classes?.includes(name) ?? true)) chosen.push({ file, name });
  }
  chosen.sort((a, b) => a.file < b.file ? -1 : 1);
  if (await exists(folder)) {
    throw new DataError(`${folder}: expected to make a folder of emoji but it exists already`);
  }
  // Whole or not at all: half a data set would look like one.
  const unfinished = `${folder}.unfinished`;
  if (await exists(unfinished)) await Deno.remove(unfinished, { recursive: true }); // a killed one's
  await Deno.mkdir(unfinished, { recursive: true });
  try {
    const counts = new Map<string, number>();
    for (const [i, { file, name }] of chosen.entries()) {
      const bytes = await Deno.readFile(new URL(`assets/${file}`, pictures));
      const { pixels } = centerCrop(await decodeImage(bytes, { background: "white" }), size);
      await Deno.mkdir(join(unfinished, name), { recursive: true });
      const path = join(unfinished, name, file.replace(/\.webp$/, ".png"));
      await Deno.writeFile(path, await encodePng(pixels, size, size, 3));
      counts.set(name, (counts.get(name) ?? 0) + 1);
      onProgress?.(i + 1, chosen.length);
    }
    await Deno.rename(unfinished, folder);
    return counts;
  } catch (error) {
    await Deno.remove(unfinished, { recursive: true });
    throw error;
  }
}

/** The class of each image, by its name: code points as in `unified`, in small letters. */
function classesOf(emoji: readonly Emoji[], skinTones: boolean): Map<string, string> {
  const classes = new Map<string, string>();
  for (const { category, ...one } of emoji) {
    const name = category.toLowerCase().replace(/ & | /g, "-");
    for (const shown of [one, ...(skinTones ? Object.values(one.skin_variations ?? {}) : [])]) {
      for (const codes of [shown.unified, shown.non_qualified]) {
        if (codes) classes.set(codes.toLowerCase(), name);
      }
    }
  }
  return classes;
}
