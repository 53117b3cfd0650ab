/** Recognising files of other formats that failed downloads and clones leave in a file's place. */
import { type RandomAccess, readRange } from "./source.ts";

/** Bytes that are looked at; a pointer of Git LFS has about 130. */
const START_BYTES = 1024;

/**
 * The kind of a file that is in none of the formats of this project, by its first bytes: a
 * pointer of Git LFS, a web page, a compressed file, or nothing at all.
 */
export async function foreignKind(source: RandomAccess): Promise<string | undefined> {
  return foreignKindOf(await readRange(source, 0, Math.min(START_BYTES, source.size)));
}

/** What a file is that is in no known format: its kind where that is known, or how it begins. */
export async function foreignText(source: RandomAccess): Promise<string> {
  return await foreignKind(source) ??
    `a file that begins with ${startText(await readRange(source, 0, Math.min(24, source.size)))}`;
}

/** The first bytes of a file in quotes, those that are no plain text as `\xNN`. */
function startText(bytes: Uint8Array): string {
  const hex = (byte: number) => `\\x${byte.toString(16).padStart(2, "0")}`;
  const isPlain = (byte: number) => byte >= 0x20 && byte < 0x7f;
  const shown = Array.from(bytes, (b) => isPlain(b) ? String.fromCharCode(b) : hex(b));
  return `"${shown.join("")}"`;
}

/**
 * As {@linkcode foreignKind}, of bytes in memory.
 *
 * @param start The first bytes of the file, all of a small one.
 */
export function foreignKindOf(start: Uint8Array): string | undefined {
  if (start.length === 0) return "an empty file";
  if (start[0] === 0x1f && start[1] === 0x8b) {
    return "a file compressed by gzip; unpack it first (gunzip, or tar -xzf)";
  }
  const text = new TextDecoder().decode(start.subarray(0, START_BYTES)).trimStart();
  if (text.startsWith("version https://git-lfs.github.com/spec/")) {
    const size = /^size (\d+)$/m.exec(text)?.[1];
    return `a pointer of Git LFS to a file${size ? ` of ${size} bytes` : ""}; ` +
      "bring the file itself with: git lfs pull";
  }
  if (/^(<!doctype html|<html|<\?xml|<head)/i.test(text)) {
    return "a web page; a download that went wrong leaves one, so download it again";
  }
  return undefined;
}
