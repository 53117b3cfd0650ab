/** Brings elements as NumPy stores them into row-major, little-endian order. */
import { HOST_DTYPE_BYTES } from "../../tensor/mod.ts";
import { gather } from "../strided.ts";
import type { NpyHeader } from "./header.ts";

/** Whether the file's bytes are a host tensor's bytes as they are. */
export function isNative(header: NpyHeader): boolean {
  return !header.bigEndian && !(header.fortranOrder && header.shape.length > 1);
}

/** `data`, in place or copied, in row-major and little-endian order. */
export function toNative(
  data: Uint8Array<ArrayBuffer>,
  header: NpyHeader,
): Uint8Array<ArrayBuffer> {
  const itemBytes = HOST_DTYPE_BYTES[header.dtype];
  if (header.bigEndian) {
    for (let at = 0; at < data.byteLength; at += itemBytes) {
      data.subarray(at, at + itemBytes).reverse();
    }
  }
  if (!header.fortranOrder || header.shape.length < 2) return data;
  let step = 1;
  const strides = header.shape.map((d) => {
    const stride = step;
    step *= d;
    return stride;
  });
  return gather(data, header.shape, strides, itemBytes);
}
