/**
 * How events of sampling go over the wire: frames, one an event, of two lengths (bytes, 32 bits,
 * little-endian), the event as JSON, and its pictures' pixels, one after the other, each row by row
 * with as many bytes a pixel as it has channels.
 */
import type { Picture, SampleEvent } from "./protocol.ts";

/** What goes over the wire: events, or why there are no more of them. */
export type WireEvent = SampleEvent | { readonly kind: "failed"; readonly message: string };

/** Bytes before the JSON of a frame. */
const LENGTHS = 8;

/** Most bytes of a frame that is read: 64 pictures of 1024 x 1024 in colours. */
const MOST_BYTES = 256 * 2 ** 20;

/** An event as a frame. */
export function encodeFrame(event: WireEvent): Uint8Array<ArrayBuffer> {
  const { pictures = [], ...rest } = event as WireEvent & { pictures?: readonly Picture[] };
  const packed = pictures.map((picture) => ({ picture, channels: channelsOf(picture) }));
  const sizes = packed.map(({ picture: { width, height }, channels }) => ({
    width,
    height,
    channels,
  }));
  const described = "pictures" in event && event.pictures ? { ...rest, pictures: sizes } : rest;
  const json = new TextEncoder().encode(JSON.stringify(described));
  const bytes = sizes.reduce(
    (sum, { width, height, channels }) => sum + width * height * channels,
    0,
  );
  const frame = new Uint8Array(LENGTHS + json.length + bytes);
  const lengths = new DataView(frame.buffer);
  lengths.setUint32(0, json.length, true);
  lengths.setUint32(4, bytes, true);
  frame.set(json, LENGTHS);
  let at = LENGTHS + json.length;
  for (const { picture: { rgba }, channels } of packed) {
    for (let i = 0; i < rgba.length; i += 4) {
      for (let c = 0; c < channels; c++) frame[at++] = rgba[i + c]!;
    }
  }
  return frame;
}

/** 1 where all pixels are grey, otherwise 3. */
function channelsOf({ rgba }: Picture): 1 | 3 {
  for (let i = 0; i < rgba.length; i += 4) {
    if (rgba[i] !== rgba[i + 1] || rgba[i] !== rgba[i + 2]) return 3;
  }
  return 1;
}

/**
 * Events of a stream of frames.
 *
 * @throws {Error} where the stream ends within a frame, or is none of frames.
 */
export async function* decodeFrames(
  stream: AsyncIterable<Uint8Array>,
): AsyncGenerator<WireEvent, void> {
  const parts: Uint8Array[] = [];
  let held = 0;
  const take = (count: number): Uint8Array<ArrayBuffer> => {
    const out = new Uint8Array(count);
    for (let at = 0; at < count;) {
      const part = parts[0]!;
      const used = part.subarray(0, count - at);
      out.set(used, at);
      at += used.length;
      if (used.length === part.length) parts.shift();
      else parts[0] = part.subarray(used.length);
    }
    held -= count;
    return out;
  };
  let lengths: DataView | undefined;
  for await (const part of stream) {
    if (part.length === 0) continue;
    parts.push(part);
    held += part.length;
    for (;;) {
      if (lengths === undefined) {
        if (held < LENGTHS) break;
        lengths = new DataView(take(LENGTHS).buffer);
      }
      const [json, bytes] = [lengths.getUint32(0, true), lengths.getUint32(4, true)];
      if (json + bytes > MOST_BYTES) throw new Error("the server's answer is none of the studio's");
      if (held < json + bytes) break;
      const text = new TextDecoder().decode(take(json));
      yield withPictures(JSON.parse(text), take(bytes));
      lengths = undefined;
    }
  }
  if (held > 0 || lengths !== undefined) {
    throw new Error("the server's answer ended within an event");
  }
}

interface Size {
  readonly width: number;
  readonly height: number;
  readonly channels: number;
}

function withPictures(
  event: WireEvent & { pictures?: readonly Size[] },
  bytes: Uint8Array,
): WireEvent {
  if (event.pictures === undefined) return event;
  let at = 0;
  const pictures = event.pictures.map(({ width, height, channels }): Picture => {
    const rgba = new Uint8ClampedArray(4 * width * height);
    for (let i = 0; i < rgba.length; i += 4, at += channels) {
      for (let c = 0; c < 3; c++) rgba[i + c] = bytes[channels === 1 ? at : at + c]!;
      rgba[i + 3] = 255;
    }
    return { width, height, rgba };
  });
  return { ...event, pictures } as WireEvent;
}
