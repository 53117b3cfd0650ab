/**
 * Two launches as one. A GPU waits for a launch to end before it begins the next, so the workgroups
 * that are left over at the end of one leave cores idle, and what both read is read twice: the
 * gradients of a linear layer, of its input and of its weights, read the gradient of its result.
 * Launches that do not depend on each other may share a grid, each with its own part of it. They
 * compute the same, bit for bit.
 */
import { overlap } from "../../arguments.ts";
import type { Dispatch, Tiled } from "./dispatch.ts";
import type { GpuBuffer } from "./pool.ts";
import { MAX_VIEWS } from "./pipelines.ts";

/** Workgroup memory of the staged operands, of {@linkcode Tiled} kernels. */
function declareStaged(parts: readonly Tiled[]): string {
  const most = (side: "left" | "right"): number => Math.max(...parts.map((part) => part[side]));
  return `
var<workgroup> left: array<vec4f, ${most("left")}>;
var<workgroup> right: array<vec4f, ${most("right")}>;`;
}

function mainOf({ threads }: Tiled, body: string): string {
  return `@compute @workgroup_size(${threads})
fn main(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let group = linear_group(workgroup);
  if (group >= params.grid_count) { return; }
${body}
}
`;
}

/** The kernel that has a grid for itself. */
export function tiledSource(part: Tiled): string {
  const { declarations, body } = part;
  return `${declareStaged([part])}
${declarations()}
${mainOf(part, `  let number = group;\n${body()}`)}`;
}

function joinedSource(first: Tiled, second: Tiled, rename: (text: string) => string): string {
  return `${declareStaged([first, second])}
${first.declarations()}
${rename(second.declarations())}
${
    mainOf(
      first,
      `  if (group < params.${FIRST_GROUPS}) {
    let number = group;
${first.body()}
  } else {
    let number = group - params.${FIRST_GROUPS};
${rename(second.body())}
  }`,
    )
  }`;
}

/** The uniform that says how many workgroups are the first kernel's. */
const FIRST_GROUPS = "first_groups";
/** What the second kernel's names begin with. */
const SECOND = "second_";

/** Renames what the second kernel declares, its views and its uniforms; not those of the grid. */
function renamer({ tiled, views }: Dispatch): (text: string) => string {
  const declared = [...tiled!.declarations().matchAll(/\b(?:fn|struct|const|alias) (\w+)/g)]
    .map(([, name]) => name!);
  const accessors = views.map(({ name }) => `${name}_(?:load|load4|load8|store|store4)`);
  const names = new RegExp(`\\b(?:${[...declared, ...accessors].join("|")})\\b`, "g");
  return (text) =>
    text.replace(/\bparams\.(?!grid_)/g, `params.${SECOND}`).replace(names, `${SECOND}$&`);
}

type Uniforms = Readonly<Record<string, number>>;

function bothOf(first: Uniforms = {}, second: Uniforms = {}): Record<string, number> {
  const all: Record<string, number> = { ...first };
  for (const name in second) all[SECOND + name] = second[name]!;
  return all;
}

/**
 * One launch that does what both do, or null where they cannot share one: their workgroups differ in
 * size, one has something to do with what the other writes, or the GPU binds fewer arrays.
 *
 * @param maxBindingBytes Bytes of one buffer that a shader can see.
 */
export function joined(a: Dispatch, b: Dispatch, maxBindingBytes: number): Dispatch | null {
  if (!a.tiled || !b.tiled || a.tiled.threads !== b.tiled.threads) return null;
  if (a.directives?.length || b.directives?.length) return null;
  if (a.views.length + b.views.length > MAX_VIEWS) return null;
  if (dependsOn(a, b) || !canBind([...a.views, ...b.views], maxBindingBytes)) return null;
  // What takes a workgroup the longest begins first, so that none of it is left at the end.
  const isLonger = workOf(a) >= workOf(b);
  const [first, second] = isLonger ? [a, b] : [b, a];
  return {
    op: a.op,
    key: `${first.key}+${second.key}`,
    source: () => joinedSource(first.tiled!, second.tiled!, renamer(second)),
    views: [
      ...first.views,
      ...second.views.map((binding) => ({ ...binding, name: SECOND + binding.name })),
    ],
    u32: { ...bothOf(first.u32, second.u32), [FIRST_GROUPS]: first.workgroups },
    i32: bothOf(first.i32, second.i32),
    f32: bothOf(first.f32, second.f32),
    workgroups: first.workgroups + second.workgroups,
    flops: (first.flops ?? 0) + (second.flops ?? 0),
  };
}

/** Operations of a workgroup. */
function workOf({ flops = 0, workgroups }: Dispatch): number {
  return flops / workgroups;
}

/** Whether either writes what the other reads or writes. */
function dependsOn({ views: some }: Dispatch, { views: others }: Dispatch): boolean {
  return some.some((one) =>
    others.some((other) =>
      (one.access !== "read" || other.access !== "read") && overlap(one.view, other.view)
    )
  );
}

/** Whether no buffer is bound in windows, or written while it is seen as two types. */
function canBind(views: Dispatch["views"], maxBindingBytes: number): boolean {
  const types = new Map<unknown, string>();
  for (const { view: { buffer, dtype } } of views) {
    const { block } = buffer as GpuBuffer;
    if (block.size > maxBindingBytes || (types.get(block) ?? dtype) !== dtype) return false;
    types.set(block, dtype);
  }
  return true;
}
