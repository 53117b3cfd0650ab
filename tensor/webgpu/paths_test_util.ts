/**
 * Which conformance cases to run where shaders take long to compile, as on a software adapter: few
 * that together go every way that the kernels can go. What a case compiles is found by calling the
 * launchers with a runtime that only takes notes.
 */
import type { Backend } from "../backend.ts";
import { type ConformanceCase, Fixture } from "../conformance/fixture.ts";
import type { Program } from "../expr.ts";
import { CountingGpu } from "./counting_gpu_test_util.ts";
import { Bindings } from "./device/bindings.ts";
import { WebGpuRuntime } from "./device/runtime.ts";
import { usualAttention } from "./kernels/attention_plan.ts";
import { planHead } from "./kernels/attention_tile.ts";
import { LAUNCHERS } from "./kernels/table.ts";

/** A case, and what it makes a device compile. */
interface Noted {
  readonly test: ConformanceCase;
  /** Names of the shaders. */
  readonly shaders: ReadonlySet<string>;
  /** Parts of the names: tile, layout, type, program, ... each by kernel. */
  readonly paths: ReadonlySet<string>;
  /** The most arrays that one launch binds. */
  readonly arrays: number;
}

/** The most arrays that one launch of the case binds, where the GPU binds that many. */
export function arraysOf(test: ConformanceCase): number {
  return note(test).arrays;
}

/**
 * Cases that go every path of `cases`, or have every kind of access to each array (type and vec4 or
 * not, where it is how arrays are read that differs from another device), chosen greedily by new paths a shader to compile; and of
 * the rest those that compile nothing that these do not.
 */
export function chooseCases(
  cases: readonly ConformanceCase[],
  by: "paths" | "accesses" = "paths",
): ConformanceCase[] {
  const noted = cases.map((test) => note(test, by));
  const paths = new Set<string>();
  const shaders = new Set<string>();
  const fresh = (names: ReadonlySet<string>, known: ReadonlySet<string>): number => {
    let count = 0;
    for (const name of names) if (!known.has(name)) count++;
    return count;
  };
  const value = ({ paths: p, shaders: s, test }: Noted): number =>
    fresh(p, paths) / (fresh(s, shaders) + 1 + test.cost / COST_OF_A_SHADER);
  // Values only fall, so a case whose value is still the best of the old ones is the best.
  const open = noted.map((n) => ({ n, value: value(n) }));
  while (open.length > 0) {
    open.sort((a, b) => b.value - a.value);
    const best = open[0]!;
    const now = value(best.n);
    if (now === best.value || now >= (open[1]?.value ?? 0)) {
      if (now === 0) break;
      for (const path of best.n.paths) paths.add(path);
      for (const shader of best.n.shaders) shaders.add(shader);
      open.shift();
    } else best.value = now;
  }
  return noted.filter((n) => fresh(n.shaders, shaders) === 0).map(({ test }) => test);
}

/** What a convolution's shader reads of its image, see kernels/conv.ts. */
const IMAGE_SIZES = ["height", "width", "outChannels", "stride", "padTop", "padLeft"];

/** A GPU that does nothing, with the limits that every GPU has. */
const { device } = new CountingGpu({
  minStorageBufferOffsetAlignment: 256,
  maxStorageBufferBindingSize: 2 ** 27,
  maxStorageBuffersPerShaderStage: 8,
});
const runtime = new WebGpuRuntime(device);
const bindings = new Bindings(
  runtime.limits.minStorageBufferOffsetAlignment,
  runtime.maxBindingBytes,
);
const backend = {
  alloc: (bytes, op) => runtime.alloc(bytes, op),
  free: (buffer) => runtime.free(buffer),
} as Partial<Backend> as Backend;

/** Multiplications that take the reference as long as a shader takes to compile. */
const COST_OF_A_SHADER = 3e6;

function note(test: ConformanceCase, by: "paths" | "accesses" = "paths"): Noted {
  const shaders = new Set<string>();
  const paths = new Set<string>();
  let program = "";
  let arrays = 0;
  // Launches are looked at only: compiling all their shaders would take long even so.
  runtime.dispatch = (d) => {
    const layout = d.views.map(({ view, vec4 }) => `${view.dtype}${vec4 ? "x4" : ""}`);
    bindings.assign(d);
    arrays = Math.max(arrays, bindings.count);
    shaders.add(`${d.key} ${layout} ${bindings.slots.slice(0, d.views.length)}`);
    const kernel = test.kernel;
    d.views.forEach(({ name }, i) => paths.add(`${kernel} ${name} ${layout[i]}`));
    if (by === "accesses") return;
    if (program) paths.add(`${kernel} ${program}`);
    // Sizes of an image that are not in the name: paddings may be 0 or less.
    for (const size of test.kernel.startsWith("conv2d") ? IMAGE_SIZES : []) {
      if (d.u32?.[size] !== undefined) paths.add(`${kernel} ${size} ${Math.sign(d.u32[size] - 1)}`);
    }
    d.key.replace(program, "").split(/[ /]/).forEach((part, i) => {
      for (const path of pathsOf(d.key, part)) paths.add(`${kernel} ${i} ${path}`);
    });
  };
  const launch = LAUNCHERS[test.kernel] as (typeof LAUNCHERS)["matmul"];
  const fixture = new Fixture(backend, test, false);
  const args = test.build(fixture) as Parameters<typeof launch>[1];
  program = (args as { program?: Program }).program?.key ?? "";
  launch(runtime, args, "note");
  fixture.free();
  return { test, shaders, paths, arrays };
}

const CODE = usualAttention({ writtenOut: false }).forward;

/** What a part of a shader's name says of the path: sizes that are alike are the same. */
function pathsOf(key: string, part: string): string[] {
  // Sizes of a convolution, or how one divides by them.
  if (key.includes("/conv2d") && part.includes("x")) {
    return part.split("x").map((s, i) => `${i} ${s === "shift" ? s : Math.sign(Number(s) - 1)}`);
  }
  // Threads that share a row.
  if (/^\d+x4$/.test(part) && key.startsWith("attention")) return ["x4"];
  if (key.startsWith("attention") && /^\d+$/.test(part)) {
    const depth = Number(part);
    const { slice, chunks, eights, parts } = planHead(depth, 128, CODE);
    const columns = [`${chunks} chunks`, `${eights} eights`, `${parts} parts`];
    return [...columns, `ragged ${depth % slice !== 0}`];
  }
  return part.split(",").map((word, i) => `${i} ${word}`);
}
