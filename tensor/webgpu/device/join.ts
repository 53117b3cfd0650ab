/**
 * Two launches as one. A GPU waits for a launch to end before it begins the next, so the workgroups
 * that are left over at the end of one leave cores idle, and what both read is read twice: the
 * gradients of a linear layer, of its input and of its weights, read the gradient of its result.
 * Launches that do not depend on each other may share a grid, each with its own part of it. They
 * compute the same, bit for bit.
 */
import { overlap } from "../../arguments.ts";
import { viewBytes } from "../../view.ts";
import type { ViewBinding } from "../shader/accessors.ts";
import type { Dispatch, Tiled } from "./dispatch.ts";
import type { GpuBuffer } from "./pool.ts";
import { MAX_VIEWS } from "./pipelines.ts";

/** Declares the arrays that operands are staged in, as large as one of the kernels needs. */
export function declareStaged(parts: readonly Staged[]): string {
  return `
var<workgroup> left: array<vec4f, ${mostOf("left", parts)}>;
var<workgroup> right: array<vec4f, ${mostOf("right", parts)}>;`;
}

type Staged = Pick<Tiled, "left" | "right">;

function mostOf(side: keyof Staged, parts: readonly Staged[]): number {
  return Math.max(...parts.map((part) => part[side]));
}

/** Whether a workgroup has memory for the arrays of both. */
function haveRoom(parts: readonly Staged[], bytes: number): boolean {
  return 16 * (mostOf("left", parts) + mostOf("right", parts)) <= bytes;
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

/**
 * Renames what the second kernel declares, its uniforms, but for those of the grid, and its views: to
 * names that begin with `SECOND`, or to that of a view of the first that is the same.
 */
function renamer(
  { tiled }: Dispatch,
  views: ReadonlyMap<string, string>,
): (text: string) => string {
  const declared = [...tiled!.declarations().matchAll(/\b(?:fn|struct|const|alias) (\w+)/g)]
    .map(([, name]) => name!);
  const names = new RegExp(`\\b(?:${declared.join("|")})\\b`, "g");
  const accessors = new RegExp(
    `\\b(${[...views.keys()].join("|")})(?=_(?:load|load4|load8|store|store4)\\b)`,
    "g",
  );
  return (text) =>
    text.replace(/\bparams\.(?!grid_)/g, `params.${SECOND}`)
      .replace(names, `${SECOND}$&`)
      .replace(accessors, (name) => views.get(name)!);
}

/** The names of the second kernel's views among those of both. */
function namesOf(first: Dispatch, second: Dispatch): Map<string, string> {
  return new Map(second.views.map((binding) => {
    const same = first.views.find((other) => isSame(other, binding));
    return [binding.name, same?.name ?? SECOND + binding.name];
  }));
}

/** Whether two views are read alike, by offsets from one place: what lies where is the kernel's matter. */
function isSame(a: ViewBinding, b: ViewBinding): boolean {
  const [x, y] = [a.view, b.view];
  return a.access === "read" && b.access === "read" && Boolean(a.vec4) === Boolean(b.vec4) &&
    x.buffer === y.buffer && x.dtype === y.dtype && x.offset === y.offset &&
    viewBytes(x).end === viewBytes(y).end;
}

type Uniforms = Readonly<Record<string, number>>;

function bothOf(first: Uniforms = {}, second: Uniforms = {}): Record<string, number> {
  const all: Record<string, number> = { ...first };
  for (const name in second) all[SECOND + name] = second[name]!;
  return all;
}

/** What a GPU gives a shader. */
export interface ShaderLimits {
  /** Bytes of one buffer that it can see. */
  readonly maxBindingBytes: number;
  /** Bytes of memory of a workgroup. */
  readonly workgroupBytes: number;
}

/**
 * One launch that does what both do, or null where they cannot share one: their workgroups differ in
 * size, or want more memory together than each alone, as one stages more of the left operand and the
 * other of the right; one has something to do with what the other writes; or the GPU binds fewer arrays.
 */
export function joined(
  a: Dispatch,
  b: Dispatch,
  { maxBindingBytes, workgroupBytes }: ShaderLimits,
): Dispatch | null {
  if (!a.tiled || !b.tiled || a.tiled.threads !== b.tiled.threads) return null;
  if (!haveRoom([a.tiled, b.tiled], workgroupBytes)) return null;
  if (a.directives?.length || b.directives?.length) return null;
  if (dependsOn(a, b) || !canBind([...a.views, ...b.views], maxBindingBytes)) return null;
  // What takes a workgroup the longest begins first, so that none of it is left at the end.
  const isLonger = workOf(a) >= workOf(b);
  const [first, second] = isLonger ? [a, b] : [b, a];
  const names = namesOf(first, second);
  const others = second.views.filter(({ name }) => names.get(name)!.startsWith(SECOND));
  if (first.views.length + others.length > MAX_VIEWS) return null;
  return {
    op: a.op,
    key: `${first.key}+${second.key}/${[...names.values()].join()}`,
    source: () => joinedSource(first.tiled!, second.tiled!, renamer(second, names)),
    views: [
      ...first.views,
      ...others.map((binding) => ({ ...binding, name: names.get(binding.name)! })),
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

/** Whether either writes what the other reads or writes, as far as can be told. */
function dependsOn({ views: some }: Dispatch, { views: others }: Dispatch): boolean {
  return some.some((one) =>
    others.some((other) =>
      (one.access !== "read" || other.access !== "read") && overlap(one.view, other.view, true)
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
