/**
 * What tests of Dawn run in a process of its own, so that its drivers and theirs keep apart: a job
 * that is named on the command line, and its outcome as a line of JSON.
 */
import { openDawn } from "../../cli/shared/dawn.ts";
import {
  type ConformanceCase,
  conformanceCases,
  runConformance,
} from "../../tensor/conformance/suite.ts";
import { createWebGpuBackend, findAdapter } from "../../tensor/webgpu/backend.ts";
import { chooseCases } from "../../tensor/webgpu/paths_test_util.ts";
import { adapterName, isSoftwareAdapter } from "../../tensor/webgpu/device/adapter.ts";
import { type MatrixUnit, matrixUnit } from "../../tensor/webgpu/device/matrices.ts";
import {
  LARGE_HEADS,
  MATRIX_ATTENTION_CASES,
  MATRIX_CASES,
} from "../../tensor/webgpu/kernels/matrix_cases_test_util.ts";

/** Which adapter Dawn finds. */
export interface Found {
  /** Null where there is none. */
  readonly adapter: string | null;
  /** The matrices that it lists, if any. */
  readonly unit: MatrixUnit | null;
}

/** How conformance cases went. */
export interface Conformed {
  readonly cases: number;
  readonly failures: readonly string[];
  /** Whether the device uses its matrix units. */
  readonly hasMatrices: boolean;
  /** Cases of gradients of attention, which is two launches. */
  readonly attentionGrads: number;
  /** Launches by what the name of their kernel says of matrices. */
  readonly launches: { readonly onMatrices: number; readonly split: number };
}

/** Cases beyond this many multiplications take a software adapter longer than their shaders. */
const MOST_COST = 20_000;

const JOBS: Readonly<Record<string, (gpu: Pick<GPU, "requestAdapter">) => Promise<unknown>>> = {
  async find(gpu): Promise<Found> {
    const adapter = await findAdapter(undefined, gpu);
    return { adapter: adapter && adapterName(adapter), unit: adapter && matrixUnit(adapter) };
  },

  /** Cases of every kernel that together go every way that their shaders can. */
  conformance: (gpu) => conform(gpu, chooseCases(conformanceCases({ maxCost: MOST_COST }))),

  matrices: (gpu) => conform(gpu, MATRIX_CASES),

  /** Large heads only where they are compiled within seconds. */
  async matrixAttention(gpu): Promise<Conformed> {
    const adapter = await findAdapter(undefined, gpu);
    const large = adapter && isSoftwareAdapter(adapter) ? [] : LARGE_HEADS;
    return conform(gpu, [...MATRIX_ATTENTION_CASES, ...large]);
  },
};

async function conform(
  gpu: Pick<GPU, "requestAdapter">,
  cases: readonly ConformanceCase[],
): Promise<Conformed> {
  const backend = await createWebGpuBackend({}, gpu);
  const { runtime } = backend;
  const failures: string[] = [];
  const launches = { onMatrices: 0, split: 0 };
  runtime.onDispatch = ({ key }) => {
    if (!key.includes("/matrices/")) return;
    launches.onMatrices++;
    if (key.endsWith("/split")) launches.split++;
  };
  for (const test of cases) {
    await runConformance(backend, test).catch((error) => failures.push(String(error)));
  }
  const hasMatrices = runtime.matrices !== null;
  await backend.dispose();
  const attentionGrads = cases.filter(({ kernel }) => kernel === "attentionGrad").length;
  return { cases: cases.length, failures, hasMatrices, attentionGrads, launches };
}

const dawn = await openDawn();
console.log(JSON.stringify(await JOBS[Deno.args[0]!]!(dawn.gpu)));
dawn.close();
Deno.exit();
