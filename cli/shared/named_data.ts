/**
 * Data that `--data` knows by name: what commands and `launch.ts` need to know before they are
 * opened, so this file imports nothing.
 */

/** What is special about named data. */
export interface NamedData {
  /** Whether mirrored examples mean the same. */
  readonly flip: boolean;
  /** Whether reading them needs native code. */
  readonly native: boolean;
}

/** Named data; everything else is a folder. */
export const NAMED_DATA: Readonly<Record<string, NamedData>> = {
  // mirrored digits are others, or none; and they are read without an image decoder
  "mnist": { flip: false, native: false },
};

/** What is special about data, if anything is: undefined for a folder. */
export function namedData(data: string): NamedData | undefined {
  return Object.hasOwn(NAMED_DATA, data) ? NAMED_DATA[data] : undefined;
}
