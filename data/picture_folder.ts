/** Folders of pictures that are made here, whole or not at all. */
import { join } from "@std/path";
import { DataError } from "./errors.ts";
import { exists } from "./folder.ts";
import { encodePng } from "./png.ts";

/** A picture of a folder. */
export interface FolderPicture {
  /** Of its file, without the ending. */
  readonly name: string;
  /** The subfolder. */
  readonly className: string;
  /** Its pixels, `[size, size, 3]`. */
  draw(): Promise<Uint8Array>;
}

/** How a folder is made. */
export interface MakeFolderOptions {
  /** Side of the images in pixels; 64 by default. */
  readonly size?: number;
  /** Classes wanted, such as `["food-drink"]`; all by default. */
  readonly classes?: readonly string[];
  /** Called after each image with the number written, and of how many. */
  readonly onProgress?: (done: number, total: number) => void;
  /** Text of a file beside the classes, about where the pictures are from. */
  readonly notice?: string;
}

/** What the file about the pictures is called. */
const NOTICE = "SOURCES.md";

/**
 * Makes a folder of PNG images, a subfolder a class.
 *
 * @param folder Must not exist yet.
 * @returns How many images each class has.
 * @throws {DataError} If the folder exists, or there is no such class.
 */
export async function makePictureFolder(
  folder: string,
  pictures: readonly FolderPicture[],
  { size = 64, classes, onProgress, notice }: MakeFolderOptions = {},
): Promise<Map<string, number>> {
  const known = new Set(pictures.map(({ className }) => className));
  const wrong = classes?.find((name) => !known.has(name));
  if (wrong !== undefined) {
    throw new DataError(
      `emoji: expected classes of ${[...known].sort().join(", ")} but got "${wrong}"`,
    );
  }
  const chosen = pictures.filter(({ className }) => classes?.includes(className) ?? true);
  if (await exists(folder)) {
    throw new DataError(`${folder}: expected to make a folder of emoji but it exists already`);
  }
  // Whole or not at all: half a data set would look like one.
  const unfinished = `${folder}.unfinished`;
  if (await exists(unfinished)) await Deno.remove(unfinished, { recursive: true }); // a killed one's
  await Deno.mkdir(unfinished, { recursive: true });
  try {
    const counts = new Map<string, number>();
    for (const [i, picture] of chosen.entries()) {
      const { name, className } = picture;
      const png = await encodePng(await picture.draw(), size, size, 3);
      await Deno.mkdir(join(unfinished, className), { recursive: true });
      await Deno.writeFile(join(unfinished, className, `${name}.png`), png);
      counts.set(className, (counts.get(className) ?? 0) + 1);
      onProgress?.(i + 1, chosen.length);
    }
    if (notice !== undefined) await Deno.writeTextFile(join(unfinished, NOTICE), notice);
    await Deno.rename(unfinished, folder);
    return counts;
  } catch (error) {
    await Deno.remove(unfinished, { recursive: true });
    throw error;
  }
}
