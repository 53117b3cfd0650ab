/** A launch with what the runtime has found for it: all that recording a command takes. */
import type { Bindings } from "./bindings.ts";
import type { Block } from "./block.ts";
import type { Dispatch } from "./dispatch.ts";
import type { Pipeline } from "./pipelines.ts";

/** A launch that is ready to be recorded. */
export interface Launch {
  readonly d: Dispatch;
  readonly pipeline: Pipeline;
  /** Binds the first `count` windows of blocks. */
  readonly group: GPUBindGroup;
  readonly count: number;
  readonly blocks: readonly Block[];
  readonly starts: readonly number[];
  readonly sizes: readonly number[];
  /** The uniforms, in the order of `shaderHead`, but for where its part of the grid begins. */
  readonly words: Uint32Array;
  /** How many of `words`. */
  readonly length: number;
  /** See `Pace.workOf`. */
  readonly work: number;
}

/** More than the uniforms of any kernel. */
const MOST_WORDS = 1024;

/** The launch that `assign` was last called for, without anything new for it. */
export class LaunchBuilder implements Launch {
  d!: Dispatch;
  pipeline!: Pipeline;
  group!: GPUBindGroup;
  count = 0;
  blocks: Block[] = [];
  starts: number[] = [];
  sizes: number[] = [];
  readonly words: Uint32Array = new Uint32Array(MOST_WORDS);
  readonly #i32 = new Int32Array(this.words.buffer);
  readonly #f32 = new Float32Array(this.words.buffer);
  length = 0;
  work = 0;

  /** Describes the launch of `d`, whose `bindings` are found; valid until the next. */
  assign(d: Dispatch, pipeline: Pipeline, bindings: Bindings, work: number): this {
    const { count, blocks, starts, sizes } = bindings;
    this.d = d;
    this.pipeline = pipeline;
    this.group = pipeline.groups.get(count, blocks, starts, sizes);
    this.count = count;
    this.blocks = blocks;
    this.starts = starts;
    this.sizes = sizes;
    this.work = work;
    const { words } = this;
    let at = 0;
    words[at++] = d.workgroups;
    for (let i = 0; i < d.views.length; i++) words[at++] = bindings.offset(d, i);
    for (const name in d.u32) words[at++] = d.u32[name]!;
    for (const name in d.i32) this.#i32[at++] = d.i32[name]!;
    for (const name in d.f32) this.#f32[at++] = d.f32[name]!;
    this.length = at;
    return this;
  }

  /** The same, for good. */
  copy(): Launch {
    const { d, pipeline, group, count, blocks, starts, sizes, words, length, work } = this;
    return {
      d,
      pipeline,
      group,
      count,
      blocks: blocks.slice(0, count),
      starts: starts.slice(0, count),
      sizes: sizes.slice(0, count),
      words: words.slice(0, length),
      length,
      work,
    };
  }
}
