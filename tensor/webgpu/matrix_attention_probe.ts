/** Whether attention can be trusted to a GPU's matrix units, as matrix_probe.ts asks of products. */
import { contiguousStrides, sizeOf } from "../shape.ts";
import type { View } from "../view.ts";
import { attention, attentionGrad } from "../reference/attention.ts";
import { ReferenceBuffer } from "../reference/buffer.ts";
import { VECTOR } from "./kernels/matrix_plan.ts";
import { attentionTile, tileRows } from "./kernels/matrix_attention_plan.ts";
import type { MatrixUnit } from "./device/matrices.ts";
import { errorsOf, type GpuBackend, numbers } from "./matrix_probe.ts";

/** Largest error of a result, over its largest element: a few units in the last place of f16. */
const LARGEST_ERROR = 5e-3;

const NAMES = ["out", "dq", "dk", "dv"] as const;

/**
 * Has attention of f16 use these matrices, which products use already, if it gives right results.
 *
 * @returns Why it does not use them; null where it does.
 */
export async function useAttentionMatrices(
  backend: GpuBackend,
  unit: MatrixUnit,
): Promise<string | null> {
  const { runtime } = backend;
  // No whole matrices, if they are larger than what is read at once.
  const depth = unit.k + VECTOR;
  const tile = attentionTile(unit, depth, "forward", runtime.limits, runtime.traits);
  if (tile === null) return "no tile of them fits the limits of a workgroup";
  runtime.attentionMatrices = unit;
  const reason = await probe(backend, [tileRows(tile) + 3, tile.columns + 5, depth]).catch(String);
  if (reason !== null) runtime.attentionMatrices = null;
  return reason;
}

/** What is wrong with attention of these sizes; null where nothing is. */
async function probe(
  backend: GpuBackend,
  [queries, keys, depth]: readonly [number, number, number],
): Promise<string | null> {
  const arrays: { got: View; want: View }[] = [];
  const array = (dtype: "f16" | "f32", shape: readonly number[], seed?: number) => {
    const [length, strides] = [sizeOf(shape), contiguousStrides(shape)];
    const view = { dtype, offset: 0, shape, strides };
    const got = { ...view, buffer: backend.alloc(length * (dtype === "f16" ? 2 : 4), "init") };
    const want = { ...view, buffer: new ReferenceBuffer(length * (dtype === "f16" ? 2 : 4)) };
    arrays.push({ got, want });
    if (seed !== undefined) {
      const data = numbers(length, seed);
      backend.write(got.buffer, 0, data);
      want.buffer.elements(dtype).set(data);
    }
    return { got, want };
  };
  const [q, g, out, dq] = [1, 2, undefined, undefined].map((seed) =>
    array("f16", [1, 1, queries, depth], seed)
  );
  const [k, v, dk, dv] = [3, 4, undefined, undefined].map((seed) =>
    array("f16", [1, 1, keys, depth], seed)
  );
  const stats = array("f32", [1, 1, queries, 2]);
  const all = { q: q!, k: k!, v: v!, out: out!, stats, g: g!, dq: dq!, dk: dk!, dv: dv! };
  /** Scores differ by more than what makes sums be corrected. */
  const scale = 4;
  try {
    const error = await errorsOf(backend.runtime.device, () => {
      const views = viewsOf(all, "got");
      backend.run("attention", { ...views, scale }, "init");
      backend.run("attentionGrad", { ...views, scale }, "init");
      backend.flush();
    });
    if (error !== null) return error;
    const views = viewsOf(all, "want");
    attention({ ...views, scale });
    attentionGrad({ ...views, scale });
    for (const name of NAMES) {
      const { got, want } = all[name];
      const length = sizeOf(got.shape);
      const found = await backend.read(got.buffer, "f16", 0, length);
      const wanted = (want.buffer as ReferenceBuffer).elements("f16");
      let [off, largest] = [0, 0];
      for (let i = 0; i < length; i++) {
        const difference = Math.abs(found[i]! - wanted[i]!);
        off = Number.isNaN(difference) ? Infinity : Math.max(off, difference);
        largest = Math.max(largest, Math.abs(wanted[i]!));
      }
      if (!(off <= LARGEST_ERROR * largest)) {
        return `expected ${name} with errors of at most ${LARGEST_ERROR * largest} but got ${off}`;
      }
    }
    return null;
  } finally {
    for (const { got } of arrays) backend.free(got.buffer);
  }
}

/** One view of each array. */
function viewsOf<Name extends string>(
  arrays: Readonly<Record<Name, { readonly got: View; readonly want: View }>>,
  which: "got" | "want",
): Record<Name, View> {
  const entries = Object.entries<{ got: View; want: View }>(arrays);
  return Object.fromEntries(entries.map(([name, views]) => [name, views[which]])) as Record<
    Name,
    View
  >;
}
