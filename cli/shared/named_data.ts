/**
 * Data that `--data` knows by name: one row each, which the help, the defaults, the rights of the
 * command and its opening of the data read. `launch.ts` reads it too, so this file loads nothing.
 */
import type { Dataset } from "@dit/data";

/** Data with a name. */
export interface NamedData {
  /** What they are, for the help of `--data`. */
  readonly help: string;
  /** Side of an example in pixels. */
  readonly imageSize: number;
  /** Whether mirrored examples mean the same. */
  readonly flip: boolean;
  /** Whether reading them needs native code. */
  readonly native: boolean;
  /** The name of a file that shows that a folder holds these data, where they come as files too. */
  readonly files?: RegExp;
  /**
   * Opens them.
   *
   * @param folder Where their files are; by default they are fetched, once.
   */
  open(folder?: string): Promise<Dataset>;
}

/** Named data; everything else is a folder. */
export const NAMED_DATA: Readonly<Record<string, NamedData>> = {
  "mnist": {
    help: "60,000 handwritten digits",
    imageSize: 32,
    flip: false, // mirrored digits are others, or none
    native: false,
    files: /^train-images-idx3-ubyte(\.gz)?$/,
    async open(folder) {
      const { loadMnist } = await import("@dit/data");
      return await loadMnist(folder === undefined ? {} : { folder });
    },
  },
};

/** What is special about data, if anything is: undefined for a folder. */
export function namedData(data: string): NamedData | undefined {
  return Object.hasOwn(NAMED_DATA, data) ? NAMED_DATA[data] : undefined;
}

/** What may be given, such as "mnist or a folder". */
export function namesOr(otherwise: string): string {
  return [...Object.keys(NAMED_DATA), otherwise].join(" or ");
}
