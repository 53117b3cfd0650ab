/** Finding a GPU and opening it with everything it offers. */
import { DeviceError } from "../../errors.ts";

/** The adapter the system prefers, or null where there is none (or no WebGPU at all). */
export async function findAdapter(
  powerPreference: GPUPowerPreference = "high-performance",
): Promise<GPUAdapter | null> {
  const gpu = (globalThis.navigator as Navigator | undefined)?.gpu;
  if (!gpu) return null;
  return await gpu.requestAdapter({ powerPreference });
}

/** Whether the adapter is a program on the CPU that only pretends to be a GPU. */
export function isSoftwareAdapter(adapter: GPUAdapter): boolean {
  const info = adapter.info as GPUAdapterInfo & { isFallbackAdapter?: boolean };
  return info.isFallbackAdapter ??
    /llvmpipe|lavapipe|swiftshader|software|basic render/i.test(info.description);
}

/** One line for people: name and vendor as far as the adapter tells. */
export function adapterName(adapter: GPUAdapter): string {
  const { description, device, architecture, vendor } = adapter.info;
  return description || [vendor, architecture, device].filter(Boolean).join(" ") ||
    "unnamed adapter";
}

/**
 * Opens the adapter with its own limits (the defaults are those of the weakest GPU allowed) and
 * the optional features kernels know how to use.
 */
export async function openDevice(adapter: GPUAdapter): Promise<GPUDevice> {
  const requiredLimits: Record<string, number> = {};
  const limits = adapter.limits as unknown as Record<string, unknown>;
  for (const name in limits) {
    const value = limits[name];
    if (typeof value === "number") requiredLimits[name] = value;
  }
  const requiredFeatures = (["shader-f16", "timestamp-query"] as const).filter((f) =>
    adapter.features.has(f)
  );
  try {
    return await adapter.requestDevice({ requiredFeatures, requiredLimits, label: "tensor" });
  } catch (cause) {
    throw new DeviceError(`init: the GPU ${adapterName(adapter)} could not be opened`, { cause });
  }
}
