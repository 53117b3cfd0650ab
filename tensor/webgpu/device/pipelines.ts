/** Compiled kernels, each made at its first launch and kept. */
import { isDebug } from "../../debug.ts";
import type { DType } from "../../dtype.ts";
import { DeviceError } from "../../errors.ts";
import {
  type HalfMode,
  shaderHead,
  uniformBytes,
  type UniformLayout,
  type ViewLayout,
} from "../shader/accessors.ts";
import { BindGroups } from "./bind_groups.ts";
import type { Dispatch } from "./dispatch.ts";

/** A compiled kernel for one layout of its views. */
export interface Pipeline {
  readonly gpu: GPUComputePipeline;
  readonly groups: BindGroups;
  readonly uniformBytes: number;
  readonly code: string;
  /** Dtypes and widths of the views, and which share a binding, as digits. */
  readonly layout: number;
  readonly sharing: number;
}

const NO_UNIFORMS: Readonly<Record<string, number>> = {};
const DTYPE_DIGIT = { f32: 0, f16: 1, i32: 2, u32: 3, u8: 4 } as const satisfies Record<
  DType,
  number
>;
/** Most views of a dispatch: their places, 4 bits each, fit a number. */
export const MAX_VIEWS = 13;

function layoutsOf(d: Dispatch, slots: readonly number[]): ViewLayout[] {
  return d.views.map(({ name, view, access, vec4, vec8 }, i) => ({
    name,
    dtype: view.dtype,
    access,
    vec4: vec4 ?? false,
    vec8: vec8 ?? false,
    slot: slots[i]!,
  }));
}

function uniformsOf(d: Dispatch): UniformLayout {
  return {
    u32: Object.keys(d.u32 ?? NO_UNIFORMS),
    i32: Object.keys(d.i32 ?? NO_UNIFORMS),
    f32: Object.keys(d.f32 ?? NO_UNIFORMS),
  };
}

export class Pipelines {
  /** What stands before shaders that use subgroups. */
  subgroupDirective = "";
  /** Pipelines made since the start. */
  made = 0;
  readonly #pipelines = new Map<string, Pipeline[]>();
  readonly #groups = new Map<string, BindGroups>();
  readonly #layouts = new Map<string, GPUPipelineLayout>();

  constructor(
    readonly device: GPUDevice,
    readonly half: HalfMode,
    readonly uniformRing: GPUBuffer,
  ) {}

  /** Bind groups made since the start. */
  get bindGroupsMade(): number {
    let made = 0;
    for (const groups of this.#groups.values()) made += groups.made;
    return made;
  }

  /** Drops all bind groups. */
  clear(): void {
    for (const groups of this.#groups.values()) groups.clear();
  }

  /** The pipeline of a dispatch whose views are bound at these places. */
  get(d: Dispatch, slots: readonly number[]): Pipeline {
    const { views } = d;
    let layout = 0;
    let sharing = 0;
    for (let i = 0; i < views.length; i++) {
      const { view, vec4 } = views[i]!;
      layout = layout * 10 + DTYPE_DIGIT[view.dtype] * 2 + (vec4 ? 1 : 0);
      sharing = sharing * 16 + slots[i]!;
    }
    const variants = this.#pipelines.get(d.key);
    if (variants) {
      for (const pipeline of variants) {
        if (pipeline.layout !== layout || pipeline.sharing !== sharing) continue;
        if (isDebug() && pipeline.code !== this.#code(d, layoutsOf(d, slots))) {
          throw new DeviceError(`${d.op}: expected one code for the key "${d.key}" but got two`);
        }
        return pipeline;
      }
    }
    const made = this.#make(d, slots, layout, sharing);
    if (variants) variants.push(made);
    else this.#pipelines.set(d.key, [made]);
    return made;
  }

  #make(d: Dispatch, slots: readonly number[], layout: number, sharing: number): Pipeline {
    const views = layoutsOf(d, slots);
    for (const { slot, dtype } of views) {
      if (views.some((v) => v.slot === slot && v.dtype !== dtype)) {
        throw new DeviceError(`${d.op}: ${d.key} sees one buffer that it writes as two dtypes`);
      }
    }
    const bytes = uniformBytes(views.length, uniformsOf(d));
    const accesses: GPUBufferBindingType[] = [];
    for (const { slot, access } of views) {
      if (access !== "read") accesses[slot] = "storage";
      else accesses[slot] ??= "read-only-storage";
    }
    const label = `${d.op} (${d.key})`;
    const key = `${accesses.map((a) => (a === "storage" ? "w" : "r")).join("")}${bytes}`;
    const code = this.#code(d, views);
    const module = this.device.createShaderModule({ label, code });
    const groups = this.#bindGroups(key, accesses, bytes);
    const gpu = this.device.createComputePipeline({
      label,
      layout: this.#layouts.get(key)!,
      compute: { module, entryPoint: "main" },
    });
    this.made++;
    return { gpu, groups, uniformBytes: bytes, code, layout, sharing };
  }

  #code(d: Dispatch, views: readonly ViewLayout[]): string {
    const source = d.source();
    const directive = source.includes("subgroupShuffleXor(") ? this.subgroupDirective : "";
    return directive + shaderHead(views, uniformsOf(d), this.half, d.directives) + source;
  }

  #bindGroups(key: string, accesses: GPUBufferBindingType[], bytes: number): BindGroups {
    const known = this.#groups.get(key);
    if (known) return known;
    const uniform = { type: "uniform", hasDynamicOffset: true, minBindingSize: bytes } as const;
    const bindGroupLayout = this.device.createBindGroupLayout({
      label: key,
      entries: [
        { binding: 0, visibility: GPUShaderStage.COMPUTE, buffer: uniform },
        ...accesses.map((type, i) => ({
          binding: i + 1,
          visibility: GPUShaderStage.COMPUTE,
          buffer: { type },
        })),
      ],
    });
    this.#layouts.set(
      key,
      this.device.createPipelineLayout({ label: key, bindGroupLayouts: [bindGroupLayout] }),
    );
    const groups = new BindGroups(this.device, bindGroupLayout, this.uniformRing, bytes);
    this.#groups.set(key, groups);
    return groups;
  }
}
