/**
 * A plan for DiT-XL/2 on up to 64 GPUs, from the simulation of `bench/distributed`: the tables of
 * docs/scaling.md. Needs neither GPUs nor an MPI.
 */
import { contents } from "./distributed/document.ts";
import type { Report } from "./measure.ts";

/** It runs no WebAssembly. */
export const tiered = false;

/** Runs the suite. */
export async function run(report: Report): Promise<void> {
  for (const [title, rows] of (await contents()).tables) report.add(title, rows);
}
