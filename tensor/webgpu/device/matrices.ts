/**
 * Matrix units ("tensor cores") as WebGPU reaches them: matrices that the threads of a subgroup
 * multiply together. It is an experiment of Chromium's, which Dawn has where it is allowed to, and
 * which no standard describes yet.
 */

/** Matrices of f16 that a subgroup multiplies, [m, k] by [k, n], adding up in f32. */
export interface MatrixUnit {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** Threads of a subgroup. */
  readonly subgroup: number;
}

/** The features that shaders with matrices of f16 need. */
export const MATRIX_FEATURES = [
  "chromium-experimental-subgroup-matrix",
  "subgroups",
  "shader-f16",
] as readonly string[] as readonly GPUFeatureName[];

/** What such a shader begins with. */
export const MATRIX_DIRECTIVES: readonly string[] = [
  // The branches around matrices are the same in all threads, which the compiler cannot always see.
  "diagnostic(off, chromium.subgroup_matrix_uniformity);",
  "enable subgroups;",
  "enable chromium_experimental_subgroup_matrix;",
];

/** What WebGPU's types do not know of an adapter. */
interface MatrixInfo {
  readonly subgroupMinSize?: number;
  readonly subgroupMaxSize?: number;
  readonly subgroupMatrixConfigs?: Iterable<{
    readonly componentType: string;
    readonly resultComponentType: string;
    readonly M: number;
    readonly N: number;
    readonly K: number;
  }>;
}

/**
 * The largest matrices of f16 with sums in f32 that the adapter lists; null where it lists none, or
 * where its subgroups are of no certain size.
 */
export function matrixUnit({ features, info }: GPUAdapter): MatrixUnit | null {
  const { subgroupMinSize, subgroupMaxSize, subgroupMatrixConfigs = [] } = info as MatrixInfo;
  if (!MATRIX_FEATURES.every((feature) => features.has(feature))) return null;
  if (!subgroupMaxSize || subgroupMinSize !== subgroupMaxSize) return null;
  let best: MatrixUnit | null = null;
  for (const { componentType, resultComponentType, M: m, N: n, K: k } of subgroupMatrixConfigs) {
    if (componentType !== "f16" || resultComponentType !== "f32") continue;
    if (best && m * n * k <= best.m * best.n * best.k) continue;
    best = { m, n, k, subgroup: subgroupMaxSize };
  }
  return best;
}
