/**
 * What tests of Dawn run in a process of its own, so that its drivers and theirs keep apart: a job
 * that is named on the command line, and its outcome as a line of JSON.
 */
import { openDawn } from "../../cli/shared/dawn.ts";
import { conformanceCases, runConformance } from "../../tensor/conformance/suite.ts";
import { createWebGpuBackend, findAdapter } from "../../tensor/webgpu/backend.ts";
import { chooseCases } from "../../tensor/webgpu/paths_test_util.ts";
import { adapterName } from "../../tensor/webgpu/device/adapter.ts";

/** Which adapter Dawn finds. */
export interface Found {
  /** Null where there is none. */
  readonly adapter: string | null;
}

/** How conformance cases went. */
export interface Conformed {
  readonly cases: number;
  readonly failures: readonly string[];
}

/** Cases beyond this many multiplications take a software adapter longer than their shaders. */
const MOST_COST = 20_000;

const JOBS: Readonly<Record<string, (gpu: Pick<GPU, "requestAdapter">) => Promise<unknown>>> = {
  async find(gpu): Promise<Found> {
    const adapter = await findAdapter(undefined, gpu);
    return { adapter: adapter && adapterName(adapter) };
  },

  /** Cases of every kernel that together go every way that their shaders can. */
  async conformance(gpu): Promise<Conformed> {
    const backend = await createWebGpuBackend({}, gpu);
    const cases = chooseCases(conformanceCases({ maxCost: MOST_COST }));
    const failures: string[] = [];
    for (const test of cases) {
      await runConformance(backend, test).catch((error) => failures.push(String(error)));
    }
    await backend.dispose();
    return { cases: cases.length, failures };
  },
};

const dawn = await openDawn();
console.log(JSON.stringify(await JOBS[Deno.args[0]!]!(dawn.gpu)));
dawn.close();
Deno.exit();
