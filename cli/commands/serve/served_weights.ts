/**
 * Weights as files for a browser: a safetensors file of the averaged weights alone, made of whatever
 * file they are in while it is read. What a checkpoint has beside them, such as paths of the machine
 * that it was trained on, is not in it.
 */
import { byteCount, crc32, SafetensorsWriter, type TensorSource } from "@dit/core/io";
import type { ServedFile } from "./http/ranges.ts";

/** A source with whatever is behind it, which is closed when it has been read. */
export interface OpenSource extends Disposable {
  readonly source: TensorSource;
}

/** Where a tensor is in the file. */
interface Placed {
  readonly name: string;
  readonly start: number;
  readonly end: number;
}

/** Bytes that are handed over at a time. */
const PART = 1 << 20;

/** How a file is made of tensors. */
export interface Layout {
  /** Before the name of each. */
  readonly prefix: string;
  /** Text for the file's `__metadata__`. */
  readonly metadata: Iterable<readonly [string, string]>;
  /** What changes when the tensors do. */
  readonly version: string;
}

/**
 * A safetensors file of the tensors of a source.
 *
 * @param open Opens the source, now and for each reading.
 */
export async function servedWeights(
  open: () => Promise<OpenSource>,
  { prefix, metadata, version }: Layout,
): Promise<ServedFile> {
  using opened = await open();
  const { header, placed, size } = await planFile(opened.source, prefix, metadata);
  return {
    size,
    etag: `"${crc32(new TextEncoder().encode(version)).toString(16)}-${size.toString(16)}"`,
    async *read(start, end) {
      if (start < header.length) yield header.slice(start, end);
      using opened = await open();
      for (const tensor of placed) {
        if (tensor.end <= start || tensor.start >= end) continue;
        const { data } = await opened.source.read(tensor.name);
        const stop = Math.min(end, tensor.end) - tensor.start;
        let at = Math.max(start, tensor.start) - tensor.start;
        for (; at < stop; at += PART) yield data.slice(at, Math.min(at + PART, stop));
      }
    },
  };
}

/** The header of a file, and where each tensor is in it. */
async function planFile(
  source: TensorSource,
  prefix: string,
  metadata: Iterable<readonly [string, string]>,
): Promise<{ header: Uint8Array<ArrayBuffer>; placed: Placed[]; size: number }> {
  let written: { at: number; bytes: Uint8Array } = { at: 0, bytes: new Uint8Array() };
  const sink = {
    name: source.name,
    writeAt: (at: number, bytes: Uint8Array) => {
      written = { at, bytes };
      return Promise.resolve();
    },
  };
  const plan = source.keys().map((name) => ({ ...source.info(name), name: prefix + name }));
  const writer = await SafetensorsWriter.create(sink, plan, metadata);
  const header = written.bytes.slice();
  const starts: { name: string; start: number }[] = [];
  for (const name of source.keys()) {
    await writer.write(prefix + name, new Uint8Array()); // which says where it would go
    starts.push({ name, start: written.at });
  }
  const sizes = new Map(plan.map((info) => [info.name.slice(prefix.length), byteCount(info)]));
  const placed = starts
    .map(({ name, start }) => ({ name, start, end: start + sizes.get(name)! }))
    .sort((a, b) => a.start - b.start || a.end - b.end);
  return { header, placed, size: placed.at(-1)?.end ?? header.length };
}
