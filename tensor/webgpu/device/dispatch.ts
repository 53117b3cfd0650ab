/** One launch of a kernel, as launchers describe it to the runtime. */
import type { ViewBinding } from "../shader/accessors.ts";

/** A kernel that multiplies tiles staged in workgroup memory, in parts that can be put together. */
export interface Tiled {
  /** Invocations of a workgroup. */
  readonly threads: number;
  /** vec4s of the arrays `left` and `right` in workgroup memory. */
  readonly left: number;
  readonly right: number;
  /** What stands before the entry point, besides those arrays. */
  declarations(): string;
  /** What a workgroup does: it is the `number`-th, and `thread` the invocation. */
  body(): string;
}

/** One launch of a kernel. */
export interface Dispatch {
  /** The public op, for errors. */
  readonly op: string;
  /** Unique for the text `source` returns and for the names of uniforms. */
  readonly key: string;
  /**
   * The kernel without its head (see accessors.ts), entry point `main`; called once a key and
   * layout. Uniforms are read as `params.name`.
   */
  readonly source: () => string;
  /** The parts of `source`, where the launch may share a grid with another; see join.ts. */
  readonly tiled?: Tiled | undefined;
  /** Directives that the shader begins with, besides those that its types need. */
  readonly directives?: readonly string[];
  readonly views: readonly ViewBinding[];
  readonly u32?: Readonly<Record<string, number>>;
  readonly i32?: Readonly<Record<string, number>>;
  readonly f32?: Readonly<Record<string, number>>;
  /**
   * Number of workgroups. A kernel of more than one finds its own by `linear_group(workgroup_id)`
   * and returns where that is not below `params.grid_count`: the grid is folded into rows where it
   * exceeds the limit of a dimension, and cut into several launches where it would take long. So
   * no workgroup may depend on another of the same launch.
   */
  readonly workgroups: number;
  /** Floating-point operations, where they rather than memory take the time. */
  readonly flops?: number;
}
