/**
 * What kernels are planned by and WebGPU does not tell: how many cores the GPU has, and whether its
 * driver repays shaders that are written out at length. Plans decide the order of sums, so results
 * have the same bits only where these are the same.
 */

/** Properties of a GPU that plans of kernels depend on. */
export interface GpuTraits {
  /**
   * Cores of about 128 multipliers: NVIDIA's multiprocessors, Apple's cores, pairs of AMD's compute
   * units, Intel's Xe-cores.
   */
  readonly cores: number;
  /**
   * Whether kernels are written for the optimizer of a GPU's driver: without loops over what is
   * staged, and with indices of known bounds. Adapters that are programs on the CPU only compile
   * them longer.
   */
  readonly writtenOut: boolean;
  /** Whether a thread has registers for a slice that is read ahead, besides 64 sums. */
  readonly readsAhead: boolean;
}

/** Of a GPU of which nothing is known. */
export const USUAL_TRAITS: GpuTraits = { cores: 48, writtenOut: true, readsAhead: true };

/** Cores by name; the first that fits counts. */
const CORES: readonly (readonly [name: RegExp, cores: number])[] = [
  [/\b(h100|h200|gh200)\b/i, 132],
  [/\ba100\b/i, 108],
  [/\bl40s?\b/i, 142],
  [/\b(a40|a6000)\b/i, 84],
  [/\bv100\b/i, 80],
  [/\b(l4|a10g?)\b/i, 64],
  [/\bt4\b/i, 40],
  [/rtx 5090/i, 170],
  [/rtx 4090/i, 128],
  [/rtx (3090|4080|5080)/i, 80],
  [/rtx (3080|4070|5070)/i, 60],
  [/rtx [2-5]0[56]0/i, 32],
  [/apple m\d ultra/i, 60],
  [/apple m\d max/i, 36],
  [/apple m\d pro/i, 18],
  [/apple m\d/i, 10],
  [/\barc\b/i, 28],
  [/intel|iris|uhd graphics/i, 6],
];

/** GPUs whose threads have 128 registers, or half of them. */
const INTEL = /intel|iris|uhd graphics|\barc\b/i;

/** Cores of a GPU of this name; undefined where it is not known. */
export function coresOf(adapterName: string): number | undefined {
  const name = adapterName.replaceAll("-", " "); // as in "nvidia-geforce-rtx-4090"
  return CORES.find(([pattern]) => pattern.test(name))?.[1];
}

/** What is known of an adapter of this name, which may be a program on the CPU. */
export function traitsOf(adapterName: string, isSoftware: boolean): GpuTraits {
  // Programs on the CPU keep to the usual plans, so that tests on them go the ways of GPUs.
  if (isSoftware) return { ...USUAL_TRAITS, writtenOut: false, readsAhead: false };
  const cores = coresOf(adapterName) ?? USUAL_TRAITS.cores;
  return { ...USUAL_TRAITS, cores, readsAhead: !INTEL.test(adapterName) };
}
