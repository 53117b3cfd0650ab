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
  const gpu = dawn.create([
    `enable-dawn-features=${[...TOGGLES, ...toggles].join()}`,
    "disable-dawn-features=timestamp_quantization", // to 65 us, which is what many launches take
  ]);
  const restore = spaceImmediates();
  // Waiting for Dawn does not keep Deno from ending; a timer does, which never has to fire.
  const timer = setInterval(() => {}, 2 ** 30);
  const close = () => {
    clearInterval(timer);
    restore();
  };
  return { gpu, close };
}

/** How often Dawn looks for what has become ready, in milliseconds. */
const POLL_MILLISECONDS = 1;

/**
 * Lets immediates of the global object wait for a millisecond; returns what undoes that.
 *
 * For as long as there is a device, Dawn's package has itself called by `setImmediate` over and over,
 * each time with a new native function. Some 100,000 of them a second keep a core busy, and when they
 * are collected, Deno disposes of so many so slowly that nothing else runs: for 2 seconds where a step
 * took 0.4, and for 10 on a faster machine.
 */
function spaceImmediates(): () => void {
  const scope = globalThis as { setImmediate?: unknown };
  const before = scope.setImmediate;
  scope.setImmediate = (run: (...args: unknown[]) => void, ...args: unknown[]) =>
    setTimeout(run, POLL_MILLISECONDS, ...args);
  return () => scope.setImmediate = before;
}
