/** Which tile of a product a workgroup computes, and how much of the depth. */

/** Tiles are visited in bands of this many rows, whose operands then stay in the cache. */
const BAND = 8;

/**
 * Statements that declare of the `number`-th workgroup `batch`, `row0`, `column0`, `kBegin` and
 * `kEnd`, and `split` where there are several.
 */
export function placeTile(
  { rows, columns }: { readonly rows: number; readonly columns: number },
  splits: number,
): string {
  return `  let tilesDown = (params.m + ${rows - 1}u) / ${rows}u;
  let tilesAcross = (params.n + ${columns - 1}u) / ${columns}u;
  let tiles = tilesDown * tilesAcross;
  let place = number % tiles;
  let batch = ${splits === 1 ? "number / tiles" : "number / tiles / params.splits"};
  let band = place / (tilesAcross * ${BAND}u);
  let inBand = place % (tilesAcross * ${BAND}u);
  let bandRows = min(tilesDown - band * ${BAND}u, ${BAND}u);
  let row0 = (band * ${BAND}u + inBand % bandRows) * ${rows}u;
  let column0 = inBand / bandRows * ${columns}u;
${
    splits === 1 ? "  let kBegin = 0u;\n  let kEnd = params.k;" : `
  let split = number / tiles % params.splits;
  let kBegin = split * params.splitDepth;
  let kEnd = min(params.k, kBegin + params.splitDepth);`
  }`;
}
