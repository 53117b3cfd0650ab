/** Images too large for a device's memory, in tiles that overlap and are blended. */
import { evaluateInto, type Formula, scope, type Tensor, tensor, zeros } from "../tensor/mod.ts";

/** Where a tile begins and how much each of its rows (or columns) counts. */
export interface TileSpan {
  /** First input element. */
  readonly start: number;
  /** Number of input elements. */
  readonly length: number;
  /** A weight for each output element; those of all tiles add up to 1 everywhere. */
  readonly weights: Float32Array;
}

/**
 * Tiles of `tile` elements over `size`, each sharing `overlap` or more with the next; weights rise
 * and fall linearly where tiles overlap.
 *
 * @param scale Output elements for an input element.
 */
export function tileSpans(size: number, tile: number, overlap: number, scale: number): TileSpan[] {
  const starts = [0];
  const last = Math.max(0, size - tile);
  while (starts.at(-1)! < last) starts.push(Math.min(last, starts.at(-1)! + tile - overlap));
  const length = Math.min(size, tile);
  const totals = new Float64Array(size * scale);
  const outputs = length * scale;
  const ramp = overlap * scale;
  const raw = starts.map((start) =>
    Float64Array.from({ length: outputs }, (_, i) => {
      const rise = start === 0 ? 1 : (i + 0.5) / ramp;
      const fall = start === last ? 1 : (outputs - i - 0.5) / ramp;
      const weight = Math.min(1, rise, fall);
      totals[start * scale + i]! += weight;
      return weight;
    })
  );
  return starts.map((start, k) => {
    const weights = Float32Array.from(raw[k]!, (w, i) => w / totals[start * scale + i]!);
    return { start, length, weights };
  });
}

/** [sum, tile, weights of rows, weights of columns] -> sum'. */
const BLEND: Formula = { name: "blend", build: (sum, y, h, w) => sum!.add(y!.mul(h!).mul(w!)) };

/**
 * `run` on every tile of x [N, C, H, W], blended: [N, channels, scale H, scale W].
 *
 * @param run A tile to its result, whose height and width are `scale` times as large.
 */
export function tiled(
  x: Tensor,
  channels: number,
  scale: number,
  tile: number,
  overlap: number,
  run: (tile: Tensor) => Tensor,
): Tensor {
  const [n, , h, w] = x.shape as [number, number, number, number];
  const out = zeros([n, channels, h * scale, w * scale], { device: x.device });
  for (const row of tileSpans(h, tile, overlap, scale)) {
    for (const column of tileSpans(w, tile, overlap, scale)) {
      using _ = scope("tile");
      const y = run(windowOf(x, row.start, column.start, row.length, column.length));
      const [rows, columns] = [row.weights.length, column.weights.length];
      const to = windowOf(out, row.start * scale, column.start * scale, rows, columns);
      const down = tensor(row.weights, [rows, 1], { device: x.device });
      const across = tensor(column.weights, [columns], { device: x.device });
      evaluateInto("tiled", BLEND, [to, y, down, across], [to]);
    }
  }
  return out;
}

function windowOf(x: Tensor, top: number, left: number, height: number, width: number): Tensor {
  const shape = [x.shape[0]!, x.shape[1]!, height, width];
  return x.as(shape, x.strides, x.offset + top * x.strides[2]! + left * x.strides[3]!);
}
