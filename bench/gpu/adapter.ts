/** Which GPU, and what it says of itself. */
import { resolve, toFileUrl } from "@std/path";
import { openDawn } from "../../cli/shared/dawn.ts";
import {
  adapterName,
  BACKEND_VARIABLE,
  findAdapter,
  graphicsSystem,
  isSoftwareAdapter,
} from "../../tensor/webgpu/device/adapter.ts";

/** Where adapters come from. */
export interface GpuSource {
  /** `Deno`, or `Dawn` with what is switched off in it. */
  readonly engine: string;
  readonly gpu: Pick<GPU, "requestAdapter"> | undefined;
  /** Lets the process end. */
  readonly close?: () => void;
}

/** A file of npm's `webgpu` (Dawn), whose GPUs are then taken instead of Deno's. */
const DAWN_VARIABLE = "DAWN";

/** Switches checks off that Deno's WebGPU always makes; for figures only. */
const UNCHECKED = ["disable_robustness", "skip_validation", "disable_workgroup_init"];

/** Deno's own WebGPU, or Dawn where the environment names its file. */
export async function gpuSource(
  dawn: string | undefined = Deno.env.get(DAWN_VARIABLE),
  unchecked: boolean = Deno.env.get("DAWN_UNCHECKED") === "1",
): Promise<GpuSource> {
  if (dawn === undefined) return { engine: "Deno", gpu: navigator.gpu };
  const { gpu, close } = await openDawn({
    from: toFileUrl(resolve(dawn)).href,
    toggles: unchecked ? UNCHECKED : [],
  });
  return { engine: unchecked ? "Dawn, unchecked" : "Dawn", gpu, close };
}

/** Features that an adapter may give when asked although it does not list them. */
const UNLISTED = [
  "subgroups",
  "immediates",
  "wgpu-cooperative-matrix",
  "wgpu-subgroup-barrier",
  "wgpu-shader-int64",
  "chromium-experimental-subgroup-matrix",
];

/** All that the adapter tells. Plain JSON. */
export async function information({ engine, gpu }: GpuSource): Promise<Record<string, unknown>> {
  const adapter = (await findAdapter(undefined, gpu))!;
  const { vendor, architecture, device, description } = adapter.info;
  const { subgroupMinSize, subgroupMaxSize } = adapter.info as GPUAdapterInfo & {
    readonly subgroupMinSize?: number;
    readonly subgroupMaxSize?: number;
  };
  const limits: Record<string, number> = {};
  for (const name in adapter.limits) {
    const value = (adapter.limits as unknown as Record<string, unknown>)[name];
    if (typeof value === "number") limits[name] = value;
  }
  const unlisted: Record<string, string> = {};
  for (const feature of UNLISTED.filter((name) => !adapter.features.has(name as GPUFeatureName))) {
    unlisted[feature] = await askFor(feature, gpu);
  }
  return {
    engine,
    adapter: { vendor, architecture, device, description },
    isSoftware: isSoftwareAdapter(adapter),
    graphicsSystem: graphicsSystem(),
    [BACKEND_VARIABLE]: Deno.env.get(BACKEND_VARIABLE) ?? null,
    subgroups: [subgroupMinSize ?? null, subgroupMaxSize ?? null],
    features: [...adapter.features].sort(),
    unlisted,
    limits,
    cores: navigator.hardwareConcurrency,
  };
}

/** Whether a feature is given when asked for: "given", or why not. */
async function askFor(feature: string, gpu: GpuSource["gpu"]): Promise<string> {
  try {
    const adapter = (await findAdapter(undefined, gpu))!;
    const device = await adapter.requestDevice({ requiredFeatures: [feature as GPUFeatureName] });
    device.destroy();
    return "given";
  } catch (error) {
    return String(error).slice(0, 160);
  }
}

/** A name for files: `nvidia-h100-80gb-hbm3`. */
export function fileName(adapter: GPUAdapter): string {
  // Deno gives a name as the description and a number as the device; Dawn a name as the device.
  const { device } = adapter.info;
  const name = /^\d*$/.test(device ?? "") ? adapterName(adapter) : device;
  return name.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "");
}
