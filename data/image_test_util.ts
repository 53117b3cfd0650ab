/** What tests of images stand on: leave to decode, and files that are made when they are needed. */
import { diskTest } from "../tests/fixtures.ts";
import { nativeBlocked, packagesMissing, testUnless } from "../tests/npm.ts";
import { DECODER } from "./decode.ts";

/** Why images cannot be decoded here, or undefined where they can. */
export const imagesBlocked: string | undefined = nativeBlocked() ?? await packagesMissing(DECODER);

/** A test that writes images and reads them again. */
export function imageTest(name: string, run: (folder: string) => Promise<void>): void {
  testUnless(imagesBlocked, diskTest, name, run);
}

/** The part of sharp that makes files of all kinds. */
export interface Encoder {
  (
    pixels: Uint8Array | Uint16Array | readonly Uint8Array[],
    options: {
      readonly raw?: {
        readonly width: number;
        readonly height: number;
        readonly channels: number;
      };
      readonly join?: { readonly animated: boolean };
    },
  ): Encoding;
}

/** A picture on its way to a file. */
export interface Encoding {
  toColourspace(name: "rgb16" | "grey16"): Encoding;
  withMetadata(options: { readonly orientation: number }): Encoding;
  toFormat(format: "jpeg" | "png" | "webp" | "gif", options?: object): Encoding;
  toBuffer(): Promise<Uint8Array<ArrayBuffer>>;
}

/** Sharp, as a maker of files. */
export async function encoder(): Promise<Encoder> {
  const { default: sharp } = await import(DECODER) as { default: Encoder };
  return sharp;
}
