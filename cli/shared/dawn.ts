/**
 * Dawn, the WebGPU of Chromium, as npm's package `webgpu` has it: native code, which is fetched and
 * run only where `--gpu dawn` asks for it. It needs `--allow-read --allow-ffi`. Otherwise than Deno's
 * own WebGPU it reaches a card's tensor cores.
 */
import type { GpuProvider } from "@dit/core/tensor";
import { CommandError, messageOf } from "./errors.ts";

/** A variable, so that the package is fetched only where it is asked for. */
export const DAWN = "npm:webgpu@0.6.2";

/**
 * What Dawn leaves off unless told otherwise: features that are not standardised yet, as matrices of
 * subgroups are, and half precision on NVIDIA's cards.
 */
const TOGGLES = ["allow_unsafe_apis", "vulkan_enable_f16_on_nvidia"] as const;

/** The part of the package that is used here; its own types would be fetched to check any of ours. */
interface DawnModule {
  create(flags: readonly string[]): GpuProvider;
}

/** Dawn, loaded. */
export interface Dawn {
  readonly gpu: GpuProvider;
  /** Lets the process end. */
  close(): void;
}

/** Where Dawn is loaded from, and what is switched off in it. */
export interface DawnOptions {
  /** A module; {@linkcode DAWN} unless given. */
  readonly from?: string;
  /** Toggles of Dawn's besides the usual ones, for measurements. */
  readonly toggles?: readonly string[];
}

/**
 * Loads Dawn.
 *
 * @throws {CommandError} where it cannot be had, with what to do.
 */
export async function openDawn({ from = DAWN, toggles = [] }: DawnOptions = {}): Promise<Dawn> {
  let dawn: DawnModule;
  try {
    dawn = await import(from);
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error;
    throw new CommandError(
      `--gpu dawn needs the package ${from}, which could not be loaded (${messageOf(error)}). ` +
        "Connect to the npm registry once, on Linux, macOS or Windows, and allow what it needs: " +
        "--allow-read --allow-ffi",
      { cause: error },
    );
  }
  const gpu = dawn.create([`enable-dawn-features=${[...TOGGLES, ...toggles].join()}`]);
  // Waiting for Dawn does not keep Deno from ending; a timer does, which never has to fire.
  const timer = setInterval(() => {}, 2 ** 30);
  return { gpu, close: () => clearInterval(timer) };
}
