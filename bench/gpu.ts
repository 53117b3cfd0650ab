/**
 * A GPU, measured: what it is, whether every kernel computes on it what it should, what the engine
 * reaches, and where the time of training steps goes. bench/gpu/README.md says how to send figures.
 *
 *     deno task bench gpu --json                  about four minutes; results as they are found
 *     deno task bench gpu --only steps,sampling   some sections
 *     deno task bench gpu --seconds 120           sections that find no time left say so
 *     deno task bench gpu --tiny                  in miniature, on a software adapter too
 */
import { init, shutdown } from "@dit/core";
import type { WebGpuBackend } from "../tensor/webgpu/backend.ts";
import { findAdapter, isSoftwareAdapter } from "../tensor/webgpu/backend.ts";
import { Warmer } from "../tensor/webgpu/tune/warmer.ts";
import { fileName, type GpuSource, gpuSource, information } from "./gpu/adapter.ts";
import { attentionPlans } from "./gpu/attention_plans.ts";
import { onTheCpu } from "./gpu/beside.ts";
import { ceilings } from "./gpu/ceilings.ts";
import { conformance } from "./gpu/conformance.ts";
import { plans } from "./gpu/plans.ts";
import { sampling } from "./gpu/sampling.ts";
import { trainingSteps } from "./gpu/steps.ts";
import { sweep } from "./gpu/sweep.ts";
import { tensorCores } from "./gpu/tensor_cores.ts";
import type { SuiteOptions } from "./main.ts";
import type { Report } from "./measure.ts";

/** V8's flags change nothing of a GPU; the CPU beside it is measured in the tier of this process. */
export const tiered = false;

/** The sections, in their order: what all else rests on first. */
export const parts = [
  "conformance",
  "ceilings",
  "attention",
  "plans",
  "steps",
  "sampling",
  "cpu",
  "tensor-cores",
  "sweep",
] as const;

/** For how long kernels are tried before the figures' turn comes. */
const CONFORMANCE_SECONDS = 60;

/** Less time than that is too little to time anything. */
const LEAST_SECONDS = 10;

/** How long it may take in all unless told otherwise. */
const SECONDS = 240;

/**
 * Runs the suite.
 *
 * @param given The GPU; Deno's own, or Dawn's where the environment says so, unless given.
 * @throws {Error} where a section failed, after the others.
 */
export async function run(report: Report, options: SuiteOptions, given?: GpuSource): Promise<void> {
  const source = given ?? await gpuSource();
  try {
    await measure(report, options, source);
  } finally {
    source.close?.();
  }
}

async function measure(
  report: Report,
  { tiny, only, seconds }: SuiteOptions,
  source: GpuSource,
): Promise<void> {
  const started = performance.now();
  const all = Number.isFinite(seconds) ? seconds : SECONDS;
  const left = () => all - (performance.now() - started) / 1000;
  const adapter = await findAdapter(undefined, source.gpu);
  if (adapter === null) {
    return console.log("no WebGPU adapter: there is nothing to measure (see bench/gpu/README.md)");
  }
  const engine = source.engine.toLowerCase().replaceAll(/[^a-z]+/g, "-");
  report.machine = `${tiny ? "tiny" : fileName(adapter)}-${engine}`;
  report.note("when", new Date().toISOString());
  report.note("commit", Deno.env.get("COMMIT") ?? null);
  report.note("information", await information(source));
  if (isSoftwareAdapter(adapter) && !tiny) {
    return console.log(
      `${adapter.info.description} is a program on the CPU, whose figures say nothing of a GPU: ` +
        "skipped; --tiny runs everything in miniature",
    );
  }
  const { gpu } = source;
  const device = await init({ device: "webgpu", ...(gpu ? { gpu } : {}) });
  console.log(`${device.backend.description}, by ${source.engine}`);
  report.note("half", (device.backend as WebGpuBackend).runtime.halfMode);
  const warmer = tiny || left() < LEAST_SECONDS
    ? null
    : new Warmer(device.backend as WebGpuBackend);
  const bench = { tiny, left, warmer };
  const sections: Record<(typeof parts)[number], () => Promise<void>> = {
    conformance: () =>
      conformance(report, device, { tiny, seconds: Math.min(left() / 3, CONFORMANCE_SECONDS) }),
    ceilings: () => ceilings(report, device, bench),
    attention: () => attentionPlans(report, device, bench),
    plans: () => plans(report, device, bench),
    steps: () => trainingSteps(report, device, bench),
    sampling: () => sampling(report, device, bench),
    cpu: () => onTheCpu(report, tiny),
    sweep: () => sweep(report, device, bench),
    "tensor-cores": () => tensorCores(report, device, bench),
  };
  const took: Record<string, number> = {};
  const failures: Record<string, string> = {};
  for (const name of parts) {
    if (only && !only.includes(name)) continue;
    const start = performance.now();
    try {
      if (left() <= 0) {
        console.log(`\n${name}: no time left`);
      } else {
        await warmer?.warm();
        await sections[name]();
      }
    } catch (error) {
      failures[name] = String(error);
      console.error(`\n${name}: ${error}`);
      report.note("failures", failures);
    }
    took[name] = (performance.now() - start) / 1000;
    report.note("seconds", took);
  }
  warmer?.[Symbol.dispose]();
  await shutdown(device);
  const failed = Object.keys(failures);
  if (failed.length > 0) throw new Error(`gpu: failed in ${failed.join(", ")}`);
}
