/** The conformance suite of the kernels, run where this module is loaded. */
import { selfTest } from "@dit/core/tensor";
import { init } from "@dit/core";
import { conformanceCases, runConformance } from "../../tensor/conformance/suite.ts";

/** How the suite went. */
export interface Conformance {
  readonly description: string;
  readonly cases: number;
  readonly failures: string[];
}

/**
 * Runs the self-test of a device and the cases that are named `kernel: name`, or all of those whose
 * work is small.
 */
export async function conformance(
  name: "webgpu" | "wasm",
  chosen: readonly string[] | "small",
): Promise<Conformance> {
  const device = await init({ device: name });
  await selfTest(device);
  const { backend } = device;
  const all = conformanceCases({ halfKernels: backend.halfKernels });
  const names = new Set(chosen === "small" ? [] : chosen);
  const cases = all.filter((test) =>
    chosen === "small" ? test.cost <= 20_000 : names.has(`${test.kernel}: ${test.name}`)
  );
  const failures: string[] = [];
  await Promise.all(cases.map(async (test) => {
    await runConformance(backend, test).catch((error) => failures.push(String(error)));
  }));
  return { description: backend.description, cases: cases.length, failures };
}
