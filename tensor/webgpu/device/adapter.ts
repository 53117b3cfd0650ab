/** Finding a GPU and opening it with as much of what it offers as can be had. */
import { DeviceError } from "../../errors.ts";
import { MATRIX_FEATURES, matrixUnit } from "./matrices.ts";
import type { GpuProvider, WebGpuOptions } from "./options.ts";

/** Names the graphics systems that Deno may use, by commas: vulkan, metal, dx12, gl. */
export const BACKEND_VARIABLE = "DENO_WEBGPU_BACKEND";

/**
 * Without a driver of Vulkan, say, Deno would silently use OpenGL, which lacks much and is slow:
 * it has to be named to be taken. Besides, a process may crash in libEGL where it ends together
 * with a worker that looked for adapters, as `deno test --parallel` does.
 */
const BACKENDS = "vulkan,metal,dx12";

/** The runtime's own, if it has WebGPU. */
function ownGpu(): GpuProvider | undefined {
  return (globalThis.navigator as Navigator | undefined)?.gpu;
}

/** The adapter the system prefers, or null where there is none (or no WebGPU at all). */
export async function findAdapter(
  powerPreference: GPUPowerPreference = "high-performance",
  gpu: GpuProvider | undefined = ownGpu(),
): Promise<GPUAdapter | null> {
  if (!gpu) return null;
  // Deno reads it when the first adapter is asked for; other implementations have no use for it.
  const isDenos = gpu === ownGpu();
  if (isDenos && variable(BACKEND_VARIABLE) === undefined) setVariable(BACKEND_VARIABLE, BACKENDS);
  return await gpu.requestAdapter({ powerPreference });
}

/** Whether this program may see and change the environment; other runtimes have none. */
function mayUse(name: string): boolean {
  const deno = (globalThis as { Deno?: typeof Deno }).Deno;
  return deno?.permissions?.querySync({ name: "env", variable: name }).state === "granted";
}

function variable(name: string): string | undefined {
  return mayUse(name) ? Deno.env.get(name) : undefined;
}

function setVariable(name: string, value: string): void {
  if (mayUse(name)) Deno.env.set(name, value);
}

/**
 * The graphics systems that the adapter can be of: WebGPU does not tell, so it is what the
 * environment allows on this system.
 */
export function graphicsSystem(
  os: string = (globalThis as { Deno?: typeof Deno }).Deno?.build.os ?? "",
  allowed: string | null = variable(BACKEND_VARIABLE) ?? null,
): string | null {
  const names: Record<string, string> = {
    vulkan: "Vulkan",
    metal: "Metal",
    dx12: "Direct3D 12",
    gl: "OpenGL",
  };
  const here: Record<string, readonly string[]> = {
    windows: ["vulkan", "dx12", "gl"],
    darwin: ["metal"],
  };
  const possible = here[os] ?? ["vulkan", "gl"];
  if (os === "" || allowed === null && possible.length > 1) return null;
  const asked = allowed?.toLowerCase().split(",").map((name) => name.trim());
  const found = possible.filter((name) => asked === undefined || asked.includes(name));
  return found.map((name) => names[name]).join(" or ") || null;
}

/** Whether the adapter is a program on the CPU that only pretends to be a GPU. */
export function isSoftwareAdapter(adapter: GPUAdapter): boolean {
  const info = adapter.info as GPUAdapterInfo & { isFallbackAdapter?: boolean };
  return info.isFallbackAdapter ||
    /llvmpipe|lavapipe|swiftshader|software|basic render/i.test(info.description);
}

/**
 * Name and vendor as far as the adapter gives them. Deno gives a name as the description and a
 * number as the device; Dawn a name as the device and the driver as the description.
 */
export function adapterName(adapter: GPUAdapter): string {
  const { description, device, architecture, vendor } = adapter.info;
  const isNamed = description && device && !/^\d+$/.test(device);
  return isNamed ? `${device}, ${description}` : description ||
    [vendor, architecture, device].filter(Boolean).join(" ") || "unnamed adapter";
}

/** Whether it is an adapter of this runtime's own WebGPU. */
function isOwn(adapter: GPUAdapter): boolean {
  return "GPUAdapter" in globalThis && adapter instanceof GPUAdapter;
}

/** One line for people: the adapter, whether it is software, and how it is reached. */
export function describeAdapter(adapter: GPUAdapter): string {
  const details = [
    isSoftwareAdapter(adapter) ? "software" : null,
    isOwn(adapter) ? graphicsSystem() : null,
  ];
  const known = details.filter((detail) => detail !== null).join(", ");
  return adapterName(adapter) + (known && ` (${known})`);
}

/** Limits that make kernels faster or arrays larger; all work with WebGPU's defaults as well. */
const USEFUL_LIMITS = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxComputeWorkgroupsPerDimension",
] as const satisfies readonly (keyof GPUSupportedLimits)[];

const FEATURES = ["shader-f16", "timestamp-query"] as const satisfies readonly GPUFeatureName[];

/**
 * Opens the adapter with its own limits (the defaults are those of the weakest GPU allowed) and
 * the optional features that kernels know how to use; where a driver refuses that, with the limits
 * that matter, then with the defaults.
 *
 * @throws {DeviceError} where it cannot be opened at all.
 */
export async function openDevice(
  adapter: GPUAdapter,
  limits: WebGpuOptions["limits"] = "adapter",
): Promise<GPUDevice> {
  const requiredFeatures = [
    ...FEATURES.filter((feature) => adapter.features.has(feature)),
    ...(matrixUnit(adapter) ? MATRIX_FEATURES : []),
  ];
  const useful = limitsOf(adapter, USEFUL_LIMITS);
  // Deno gives them though it does not list them.
  const hasSubgroups = adapter.features.has("subgroups") ||
    isOwn(adapter) && "subgroupMinSize" in adapter.info && Number(adapter.info.subgroupMinSize) > 1;
  const subgroups = [...requiredFeatures, "subgroups" as GPUFeatureName];
  const requests: GPUDeviceDescriptor[] = limits === "default" ? [{}] : [
    ...(hasSubgroups
      ? [{ requiredFeatures: subgroups, requiredLimits: limitsOf(adapter, allLimits(adapter)) }]
      : []),
    { requiredFeatures, requiredLimits: limitsOf(adapter, allLimits(adapter)) },
    { requiredFeatures, requiredLimits: useful },
    { requiredLimits: useful },
    {},
  ];
  let cause: unknown;
  for (const request of requests) {
    try {
      return await adapter.requestDevice({ ...request, label: "tensor" });
    } catch (error) {
      cause ??= error;
    }
  }
  const reason = cause instanceof Error ? `: ${cause.message}` : "";
  throw new DeviceError(
    `init: the GPU ${describeAdapter(adapter)} could not be opened${reason}`,
    { cause },
  );
}

/** Names of all limits of the adapter; they are inherited properties. */
function allLimits(adapter: GPUAdapter): string[] {
  const names: string[] = [];
  for (const name in adapter.limits) names.push(name);
  return names;
}

function limitsOf(adapter: GPUAdapter, names: readonly string[]): Record<string, number> {
  const limits = adapter.limits as unknown as Record<string, unknown>;
  const values = names.map((name) => [name, limits[name]]);
  return Object.fromEntries(values.filter(([, value]) => typeof value === "number"));
}
