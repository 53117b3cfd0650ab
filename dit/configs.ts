/** The models of the paper (arXiv 2212.09748, table 1) by name. */
import { DiT } from "./dit.ts";
import type { DiTOptions } from "./options.ts";

/** What a name decides. */
export interface DiTSize {
  /** Number of blocks. */
  readonly depth: number;
  /** Width of a token. */
  readonly hiddenSize: number;
  /** Attention heads. */
  readonly numHeads: number;
  /** Width and height of a patch of latents. */
  readonly patchSize: number;
}

const SIZES = {
  XL: { depth: 28, hiddenSize: 1152, numHeads: 16 },
  L: { depth: 24, hiddenSize: 1024, numHeads: 16 },
  B: { depth: 12, hiddenSize: 768, numHeads: 12 },
  S: { depth: 12, hiddenSize: 384, numHeads: 6 },
} as const;

const PATCH_SIZES = [2, 4, 8] as const;

/** `DiT-XL/2` and its kin: size, then patch size. */
export type DiTName = `DiT-${"XL" | "L" | "B" | "S"}/${2 | 4 | 8}`;

/** The twelve models. */
export const DIT_CONFIGS: Readonly<Record<DiTName, DiTSize>> = Object.fromEntries(
  Object.entries(SIZES).flatMap(([size, shape]) =>
    PATCH_SIZES.map((patchSize) => [`DiT-${size}/${patchSize}`, { ...shape, patchSize }])
  ),
) as Record<DiTName, DiTSize>;

/** Whether there is a model of this name. */
export function isDiTName(name: string): name is DiTName {
  return Object.hasOwn(DIT_CONFIGS, name);
}

/**
 * The model of a name, with fresh weights.
 *
 * @param name such as `DiT-XL/2`
 * @param options What the name leaves open: image size, channels, classes.
 * @throws {RangeError} where there is no such model, listing those there are, or an option says
 * otherwise than the name.
 */
export function createDiT(name: string, options: DiTOptions = {}): DiT {
  if (!isDiTName(name)) {
    throw new RangeError(
      `createDiT: expected one of ${Object.keys(DIT_CONFIGS).join(", ")} but got "${name}"`,
    );
  }
  const size = DIT_CONFIGS[name];
  for (const [option, value] of Object.entries(size)) {
    const asked = (options as Record<string, unknown>)[option];
    if (asked === undefined || asked === value) continue;
    throw new RangeError(`createDiT: expected ${option} ${value} of a ${name} but got ${asked}`);
  }
  return new DiT({ ...options, ...size });
}
