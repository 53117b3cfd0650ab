/** What a browser lacks to sample by itself, in words that say what to do. */

/** What there is of what the page needs. */
export interface Abilities {
  readonly worker: boolean;
  readonly webAssembly: boolean;
  readonly webGpu: boolean;
  /** Whether it is of 2025 or later, by what JavaScript it knows. */
  readonly isRecent: boolean;
  readonly isSecure: boolean;
}

/** What this browser has. */
export function abilities(): Abilities {
  return {
    worker: typeof Worker === "function",
    webAssembly: typeof WebAssembly === "object" && WebAssembly.validate(SIMD),
    webGpu: "gpu" in navigator,
    isRecent: typeof Float16Array === "function",
    isSecure: isSecureContext,
  };
}

/** A module with one function that gives a vector of sixteen bytes, which SIMD is needed for. */
const SIMD = Uint8Array.of(
  ...[0, 97, 115, 109, 1, 0, 0, 0],
  ...[1, 5, 1, 96, 0, 1, 123],
  ...[3, 2, 1, 0],
  ...[10, 8, 1, 6, 0, 65, 0, 253, 15, 11],
);

/** Why this browser cannot sample at all; null where it can. */
export function whatStops({ worker, webAssembly, webGpu, isRecent }: Abilities): string | null {
  if (!worker) {
    return "This browser has no workers for pages, or they are switched off here, so that it cannot " +
      "compute in the background. Open the page in a current Firefox, Chrome, Edge or Safari.";
  }
  if (!isRecent) {
    return "This browser is too old to compute pictures. Update it: Chrome and Edge can from version 135 " +
      "on, Firefox from 129, Safari from 18.2.";
  }
  if (!webAssembly && !webGpu) {
    return "This browser has neither WebGPU nor WebAssembly with SIMD, one of which the page computes " +
      "with. Open it in a current Firefox, Chrome, Edge or Safari; some switch WebAssembly off in a " +
      "strict or lockdown mode.";
  }
  return null;
}

/** What makes it slower than it could be; null where nothing does. */
export function whatSlows({ webGpu, isSecure }: Abilities): string | null {
  if (webGpu) return null;
  return isSecure
    ? "Without WebGPU, which this browser does not have or has switched off, pictures are drawn on the processor."
    : "WebGPU is for pages by https or from localhost only, so that pictures are drawn on the processor.";
}
