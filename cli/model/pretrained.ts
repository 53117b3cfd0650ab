/** Getting the published weights: those on the disk, and downloads of the others. */
import { CommandError, messageOf } from "../shared/errors.ts";
import { exists } from "../shared/files.ts";
import { bytesText, ProgressLine } from "../shared/progress.ts";
import {
  addressOf,
  MIRROR_VARIABLE,
  PRETRAINED,
  type Pretrained,
  PRETRAINED_FOLDER,
  type PretrainedName,
  pretrainedPath,
} from "./catalog.ts";
import { download, fileSha256, hashText } from "./download.ts";

/** Such as `2.7 GB`, or `about 335 MB`. */
export function sizeText({ bytes, exact }: Pretrained): string {
  return `${exact ? "" : "about "}${bytesText(bytes)}`;
}

/**
 * Makes sure that a file is there, and downloads it otherwise, saying what and how large.
 *
 * @param check Also checks a file that is there already.
 * @returns Its path.
 * @throws {CommandError} where it cannot be had, saying where to put it by hand.
 */
export async function obtain(
  name: PretrainedName,
  folder: string = PRETRAINED_FOLDER,
  check = false,
): Promise<string> {
  const known: Pretrained = PRETRAINED[name];
  const { bytes, exact, sha256 } = known;
  const path = pretrainedPath(name, folder);
  if (await exists(path)) {
    if (check) await checkFile(path, known);
    return path;
  }
  const mirror = Deno.env.get(MIRROR_VARIABLE);
  const url = addressOf(name, mirror);
  console.log(`${name}: ${known.about}, ${sizeText(known)}, ${known.licence}`);
  console.log(`  from ${url}\n  to   ${path}`);
  using line = new ProgressLine("  ");
  const start = performance.now();
  let first: number | undefined;
  try {
    await download(url, path, {
      ...(exact ? { bytes } : {}),
      sha256,
      onProgress: (at, total) => {
        first ??= at;
        const seconds = (performance.now() - start) / 1000;
        line.show(at, total, `${bytesText((at - first) / Math.max(seconds, 0.1))}/s`, bytesText);
      },
      onRetry: (reason) => line.note(`${reason}; trying again`),
    });
  } catch (error) {
    line.end();
    throw new CommandError(`${messageOf(error)}\n${byHand(name, path)}`, { cause: error });
  }
  return path;
}

function byHand(name: PretrainedName, path: string): string {
  return `By hand: download ${PRETRAINED[name].url}\nand put it at ${path}, or set ` +
    `${MIRROR_VARIABLE} to an address that has ${PRETRAINED[name].file}`;
}

async function checkFile(path: string, known: Pretrained): Promise<void> {
  const { size } = await Deno.stat(path);
  const wrong = (expected: string, got: string) =>
    new CommandError(`${path}: expected ${expected} but got ${got}; remove it to download it anew`);
  if (known.exact && size !== known.bytes) throw wrong(`${known.bytes} bytes`, `${size}`);
  if (!known.sha256) return;
  const found = await fileSha256(path);
  if (!found.startsWith(known.sha256)) throw wrong(hashText(known.sha256), found);
}
