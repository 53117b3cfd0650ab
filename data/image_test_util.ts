/** What tests of images stand on: leave to decode, and files that are made when they are needed. */
import { diskTest, granted } from "../tests/fixtures.ts";

/** Why images cannot be decoded here. */
const blocked = ["read", "env", "ffi"].filter((name) => {
  return !granted({ name } as Deno.PermissionDescriptor);
});

/** A test that writes images and reads them again. */
export function imageTest(name: string, run: (folder: string) => Promise<void>): void {
  if (blocked.length === 0) return diskTest(name, run);
  const needs = blocked.map((right) => `--allow-${right}`).join(" ");
  Deno.test({ name: `${name} (needs ${needs})`, ignore: true, fn: () => {} });
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
  const { default: sharp } = await import("npm:sharp@0.34.5" as string) as { default: Encoder };
  return sharp;
}
