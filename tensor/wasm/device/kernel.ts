/** Kernels of the WebAssembly device as the host knows them. */
import type { Module } from "../emit/assembler.ts";
import type { Tier } from "./tier.ts";

/** A kernel that can be launched: what `load` gives for a name. */
export interface KernelId {
  readonly name: string;
  readonly module: LoadedModule;
  /** Position among its module's exports. */
  readonly index: number;
  readonly run: (args: number, thread: number, threads: number, scratch: number) => void;
}

/** Makes a module; `fast` code may be unrolled otherwise. */
export type ModuleBuilder = (tier: Tier) => Module;

/** A module that has been compiled. */
export interface LoadedModule {
  readonly id: number;
  readonly build: ModuleBuilder;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly kernels: Map<string, KernelId>;
  /** Threads 0 to `knownTo - 1` have compiled it. */
  knownTo: number;
}

/** How a launch may differ from the usual. */
export interface LaunchOptions {
  /** Memory of its own that each thread needs, in bytes. */
  scratchBytes?: number;
  /** Threads to use at most; 1 for little work: waking others costs 1 to 26 us. */
  threads?: number;
}
