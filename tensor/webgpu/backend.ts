/** The WebGPU device behind the kernel contract. */
import { checkArguments } from "../arguments.ts";
import type { Backend, BackendMemory, WorkRecorder } from "../backend.ts";
import { KERNEL_NAMES, type KernelArgs, type KernelName } from "../kernels.ts";
import type { DeviceBuffer, View } from "../view.ts";
import { isDebug } from "../debug.ts";
import type { DType, HostArray } from "../dtype.ts";
import { DeviceError } from "../errors.ts";
import { checkAccesses } from "./access_check.ts";
import {
  adapterName,
  BACKEND_VARIABLE,
  describeAdapter,
  findAdapter,
  isSoftwareAdapter,
  openDevice,
} from "./device/adapter.ts";
import { IndexChecks } from "./device/index_checks.ts";
import { matrixUnit } from "./device/matrices.ts";
import { useAttentionMatrices } from "./matrix_attention_probe.ts";
import { useMatrices } from "./matrix_probe.ts";
import { LAUNCHERS } from "./kernels/table.ts";
import type { GpuProvider, WebGpuOptions } from "./device/options.ts";
import { WebGpuRuntime } from "./device/runtime.ts";
import { findSubgroups, type Subgroups } from "./device/subgroups.ts";
import { traitsOf } from "./device/traits.ts";
import { Transfers } from "./device/transfer.ts";

export type { GpuProvider, WebGpuOptions } from "./device/options.ts";
export { findAdapter, isSoftwareAdapter } from "./device/adapter.ts";

/** The kernel contract on a GPU. */
export class WebGpuBackend implements Backend {
  readonly name = "webgpu";
  readonly activatesOperands = true;
  readonly isSoftware: boolean;
  /** As far as the adapter tells. */
  readonly adapterName: string;
  /** All of them: kernels see every element type through the same functions. */
  readonly halfKernels: ReadonlySet<KernelName> = new Set(KERNEL_NAMES);
  readonly runtime: WebGpuRuntime;
  readonly recorder?: WorkRecorder;
  readonly #info: GPUAdapterInfo;
  #subgroups: Promise<Subgroups | null> | null = null;
  readonly #adapter: string;
  readonly #checks: IndexChecks;
  readonly #transfers: Transfers;

  constructor(device: GPUDevice, adapter: GPUAdapter, options: WebGpuOptions = {}) {
    this.isSoftware = isSoftwareAdapter(adapter);
    this.#info = adapter.info;
    this.adapterName = adapterName(adapter);
    const traits = { ...traitsOf(this.adapterName, this.isSoftware), ...options.traits };
    this.runtime = new WebGpuRuntime(device, { ...options, traits });
    if (options.replay !== false) this.recorder = recorderOf(this.runtime);
    this.#checks = new IndexChecks(this.runtime);
    this.#transfers = new Transfers(this.runtime, this.#checks);
    this.#adapter = describeAdapter(adapter);
  }

  get description(): string {
    const { halfMode, matrices } = this.runtime;
    const { m, n, k } = matrices?.unit ?? {};
    const units = matrices ? ` on matrix units (${m}x${n}x${k})` : "";
    return `WebGPU on ${this.#adapter}, ${halfMode} f16${units}`;
  }

  get isLost(): boolean {
    return this.runtime.faults.isLost;
  }

  get favoursHalf(): boolean {
    return this.runtime.matrices !== null;
  }

  /** Looks once whether kernels can use subgroups, which lets them where their plans say so. */
  async findSubgroups(): Promise<Subgroups | null> {
    const { runtime } = this;
    this.#subgroups ??= findSubgroups(runtime.device, this.#info);
    return runtime.subgroups = await this.#subgroups;
  }

  alloc(bytes: number, op: string): DeviceBuffer {
    return this.runtime.alloc(bytes, op);
  }

  free(buffer: DeviceBuffer): void {
    this.runtime.free(buffer);
  }

  write(buffer: DeviceBuffer, offset: number, data: HostArray): void {
    this.#transfers.write(buffer, offset, data);
  }

  read(buffer: DeviceBuffer, dtype: DType, offset: number, length: number): Promise<HostArray> {
    return this.#transfers.read(buffer, dtype, offset, length);
  }

  run<K extends KernelName>(kernel: K, args: KernelArgs[K], op: string): void {
    checkArguments(kernel, args, op);
    const launch = () => LAUNCHERS[kernel](this.runtime, args, op);
    if (isDebug()) checkAccesses(this.runtime, kernel, args, op, launch);
    else launch();
  }

  checkIndices(index: View, limit: number, op: string): void {
    this.#checks.check(index, limit, op);
  }

  flush(): void {
    this.runtime.flush();
  }

  sync(): Promise<void> {
    return this.#transfers.sync();
  }

  ready(): Promise<void> {
    return this.runtime.ready();
  }

  memory(): BackendMemory {
    const { reservedBytes, allocations } = this.runtime.pool;
    return { reservedBytes, allocations };
  }

  dispose(): Promise<void> {
    this.#transfers.dispose();
    this.runtime.dispose();
    return Promise.resolve();
  }
}

function recorderOf(runtime: WebGpuRuntime): WorkRecorder {
  return {
    get isReady() {
      return !runtime.isRecording && !isDebug();
    },
    get launches() {
      const { dispatches: all, replayed } = runtime.stats;
      return { all, replayed };
    },
    newMemory: () => runtime.pool.newArena(),
    record: (run, memory) => runtime.record(run, memory),
  };
}

/**
 * Opens the GPU the system prefers.
 *
 * @param gpu Where adapters come from; `navigator.gpu` unless given.
 * @throws {DeviceError} where there is none.
 */
export async function createWebGpuBackend(
  options: WebGpuOptions = {},
  gpu?: GpuProvider,
): Promise<WebGpuBackend> {
  const adapter = await findAdapter(options.powerPreference, gpu);
  if (adapter === null) {
    throw new DeviceError(
      `init: expected a GPU that WebGPU can reach but found none (${
        gpu
          ? "the gpu that was given has no adapter"
          : "Deno" in globalThis
          ? `OpenGL is used only where ${BACKEND_VARIABLE}=gl asks for it`
          : "a browser may have it switched off, or have none on this system"
      })`,
    );
  }
  const unit = matrixUnit(adapter);
  const device = await openDevice(adapter, options.limits);
  const backend = new WebGpuBackend(device, adapter, options);
  if (unit === null || options.limits === "default" || options.half === "packed") return backend;
  const name = adapterName(adapter);
  const reason = await useMatrices(backend, unit);
  if (reason !== null) {
    console.warn(`the matrix units of ${name} are not used: ${reason}`);
    return backend;
  }
  const attentionReason = await useAttentionMatrices(backend, unit);
  if (attentionReason !== null) {
    console.warn(`attention does not use the matrix units of ${name}: ${attentionReason}`);
  }
  return backend;
}
