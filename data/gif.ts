/** What the decoder of GIF files (GIF89a, W3C) makes otherwise than Pillow. */

const EXTENSION = 0x21;
const GRAPHIC_CONTROL = 0xf9;

/**
 * The same file without a transparent colour in its first frame: decoders make such pixels black,
 * whereas `convert("RGB")` of Pillow looks them up in the palette as any other.
 */
export function withoutTransparency(bytes: Uint8Array): Uint8Array {
  const out = bytes.slice();
  const packed = out[10] ?? 0;
  let at = 13 + (packed & 0x80 ? 3 * 2 ** ((packed & 7) + 1) : 0); // behind header and palette
  while (out[at] === EXTENSION) {
    if (out[at + 1] === GRAPHIC_CONTROL && at + 3 < out.length) out[at + 3]! &= ~1;
    at += 2;
    for (let length = out[at]; length !== undefined && length > 0; length = out[at]) {
      at += 1 + length;
    }
    at++; // the empty block at its end
  }
  return out;
}
