import { assertEquals, assertRejects } from "@std/assert";
import { decodeFrames, encodeFrame, type WireEvent } from "./frames.ts";
import type { Picture } from "./protocol.ts";

function picture(width: number, height: number, isGrey: boolean): Picture {
  const rgba = new Uint8ClampedArray(4 * width * height);
  rgba.forEach((_, i) => rgba[i] = i % 4 === 3 ? 255 : isGrey ? i >> 2 : i);
  return { width, height, rgba };
}

const EVENTS: readonly WireEvent[] = [
  { kind: "queued", ahead: 2 },
  { kind: "loading", done: 0, total: 2 ** 40 },
  { kind: "step", step: 1, steps: 20 },
  { kind: "step", step: 2, steps: 20, pictures: [picture(3, 2, true), picture(2, 2, false)] },
  { kind: "done", pictures: [picture(2, 5, false)], seconds: 1.5, device: "wasm" },
  { kind: "failed", message: "größer" },
];

async function read(bytes: Uint8Array, size: number): Promise<WireEvent[]> {
  const parts = async function* () {
    for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
  };
  return await Array.fromAsync(decodeFrames(parts()));
}

const bytesOf = (events: readonly WireEvent[]) =>
  new Blob(events.map((event) => encodeFrame(event))).bytes();

Deno.test("events come out of frames as they went in, however the bytes are cut", async () => {
  const bytes = await bytesOf(EVENTS);
  for (const size of [1, 7, 8, 100, bytes.length]) assertEquals(await read(bytes, size), EVENTS);
});

Deno.test("grey pictures take a byte a pixel, others three", () => {
  const size = (isGrey: boolean) => {
    const { length } = encodeFrame({
      kind: "step",
      step: 1,
      steps: 2,
      pictures: [picture(8, 8, isGrey)],
    });
    return length;
  };
  assertEquals(size(false) - size(true), 2 * 64);
});

Deno.test("an answer that ends within an event, or has none, is refused", async () => {
  const bytes = await bytesOf(EVENTS);
  for (const end of [4, 8, bytes.length - 1]) {
    await assertRejects(() => read(bytes.subarray(0, end), 10), Error, "ended within an event");
  }
  const other = new TextEncoder().encode("<!doctype html><html>");
  await assertRejects(() => read(other, 10), Error, "none of the studio's");
});
