/** Copies strided views into row-major order. */

/** Whether elements lie row-major without gaps (dimensions of size 1 may have any stride). */
export function isRowMajor(shape: readonly number[], strides: readonly number[]): boolean {
  let step = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    if (shape[i] !== 1 && strides[i] !== step) return false;
    step *= shape[i]!;
  }
  return true;
}

/**
 * Copies elements of `itemBytes` (1, 2, 4 or 8) into row-major order, bit for bit.
 *
 * @param from Memory of its own, beginning at the view's first element.
 */
export function gather(
  from: Uint8Array<ArrayBuffer>,
  shape: readonly number[],
  strides: readonly number[],
  itemBytes: number,
): Uint8Array<ArrayBuffer> {
  // 8-byte elements are moved as two words: a float64 register may change the bits of a NaN.
  const words = itemBytes === 8 ? 2 : 1;
  const Words = itemBytes === 1 ? Uint8Array : itemBytes === 2 ? Uint16Array : Uint32Array;
  const dims = words === 1 ? [...shape] : [...shape, words];
  const steps = words === 1 ? [...strides] : [...strides.map((s) => s * words), 1];
  const count = dims.reduce((product, d) => product * d, 1);
  const out = new Uint8Array(count * itemBytes / words);
  if (count === 0) return out;
  const source = new Words(from.buffer, from.byteOffset, from.byteLength / Words.BYTES_PER_ELEMENT);
  const target = new Words(out.buffer);
  const inner = dims.pop() ?? 1;
  const innerStep = steps.pop() ?? 0;
  const index = new Array<number>(dims.length).fill(0);
  let row = 0;
  for (let at = 0; at < count; at += inner) {
    for (let i = 0; i < inner; i++) target[at + i] = source[row + i * innerStep]!;
    // Step the outer indices like an odometer.
    for (let axis = dims.length - 1; axis >= 0; axis--) {
      row += steps[axis]!;
      if (++index[axis]! < dims[axis]!) break;
      row -= steps[axis]! * dims[axis]!;
      index[axis] = 0;
    }
  }
  return out;
}
