/**
 * Pictures to train on that come over npm: Microsoft's Fluent emoji in 3D (MIT; the package
 * `@lobehub/fluent-emoji-3d`), in the classes that `emoji-datasource` puts emoji in.
 */
import { centerCrop } from "./crop.ts";
import { decodeImage } from "./decode.ts";
import { npmFolder } from "./npm_package.ts";
import { type FolderPicture, type MakeFolderOptions, makePictureFolder } from "./picture_folder.ts";

/** Variables, so that they are downloaded only where emoji are asked for. */
const PICTURES = "npm:@lobehub/fluent-emoji-3d@1.1.0";
const NAMES = "npm:emoji-datasource@16.0.0";

/** What emoji need to be made. */
export const EMOJI_3D_PACKAGES: readonly string[] = [PICTURES, NAMES];

/** How the folder is made. */
export interface Emoji3DOptions extends Omit<MakeFolderOptions, "notice"> {
  /** Whether people come in all five skin tones besides yellow; false by default. */
  readonly skinTones?: boolean;
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
export async function makeEmoji3DFolder(
  folder: string,
  { size = 64, skinTones = false, ...options }: Emoji3DOptions = {},
): Promise<Map<string, number>> {
  const pictures = await npmFolder(PICTURES);
  const names = await npmFolder(NAMES);
  const emoji = JSON.parse(await Deno.readTextFile(new URL("emoji.json", names))) as Emoji[];
  const classOf = classesOf(emoji, skinTones);
  const found: FolderPicture[] = [];
  for await (const { name: file } of Deno.readDir(new URL("assets/", pictures))) {
    const name = file.replace(/\.webp$/, "");
    const className = classOf.get(name);
    if (className === undefined) continue;
    const draw = async () => {
      const bytes = await Deno.readFile(new URL(`assets/${file}`, pictures));
      return centerCrop(await decodeImage(bytes, { background: "white" }), size).pixels;
    };
    found.push({ name, className, draw });
  }
  found.sort((a, b) => a.name < b.name ? -1 : 1);
  return await makePictureFolder(folder, found, { ...options, size, notice: NOTICE });
}

/** Where the pictures are from, for whoever has a folder of them. */
const NOTICE =
  "Fluent emoji by Microsoft, https://github.com/microsoft/fluentui-emoji, MIT; over " +
  `npm (${PICTURES.replace("npm:", "")}).\n`;

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
