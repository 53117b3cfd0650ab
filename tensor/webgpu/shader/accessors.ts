/**
 * The head of every shader: uniforms, storage bindings, and for each view the functions through
 * which the kernel reads and writes it, so that kernels are written once for all element types.
 *
 * For a view `x` a kernel finds (T is f32 for f32 and f16, i32 for i32, u32 for u32 and u8):
 *
 *     fn x_load(i: u32) -> T            element i, counted from the view's offset
 *     fn x_store(i: u32, v: T)          where access is "write" or "readwrite"
 *     fn x_load4(i: u32) -> vec4<T>     where `vec4` is set; i a multiple of 4
 *     fn x_store4(i: u32, v: vec4<T>)   where `vec4` is set (x_store is then missing)
 *     fn x_load8(i: u32) -> vec4u       where `vec8` is set, and nothing else: the bits of 8 f16
 *
 * f16 is `array<f16>` with shader-f16. Without it, f16 and (always) u8 lie packed in u32 words:
 * `x_store` then changes its bits of the word by atomics, so that threads may share words, and
 * `x_store4` writes whole words. `pack2x16float` is not used: some GPUs round towards zero in it,
 * and none has to make infinities.
 */
import type { View } from "../../view.ts";
import type { DType } from "../../dtype.ts";
import { computeType } from "../../expr.ts";
import type { WebGpuOptions } from "../device/options.ts";

/** How a kernel uses a view. */
export type Access = "read" | "write" | "readwrite";

/** Whether f16 is read by the shader itself or unpacked from words. */
export type HalfMode = NonNullable<WebGpuOptions["half"]>;

/** One view of a dispatch and the name its accessors go by. */
export interface ViewBinding {
  readonly name: string;
  readonly view: View;
  readonly access: Access;
  /** Access by four elements; the view's offset must be a multiple of 4. See `canVec4`. */
  readonly vec4?: boolean;
  /**
   * f16 of a GPU that has it, which is only read, as the bits of eight at a time; the offset must be
   * a multiple of 8, and the view lie in no buffer that the launch writes.
   */
  readonly vec8?: boolean;
}

/** Whether rows of `view` can be read by vec4s: unit inner stride, the rest multiples of 4. */
export function canVec4(view: View): boolean {
  const last = view.shape.length - 1;
  if (view.offset % 4 !== 0) return false;
  for (let i = 0; i < last; i++) {
    if (view.strides[i]! % 4 !== 0 && view.shape[i] !== 1) return false;
  }
  return last < 0 || view.strides[last] === 1 || view.shape[last] === 1;
}

/** A view as the shader text needs it. */
export interface ViewLayout {
  readonly name: string;
  readonly dtype: DType;
  readonly access: Access;
  readonly vec4: boolean;
  readonly vec8?: boolean;
  /** Number of its storage binding, from 0; views that share one have the same dtype. */
  readonly slot: number;
}

/** Names of uniforms by type, in the order they are uploaded. */
export interface UniformLayout {
  readonly u32: readonly string[];
  readonly i32: readonly string[];
  readonly f32: readonly string[];
}

/** Bytes of the uniform block: three words of the grid, an offset a view, and the kernel's own. */
export function uniformBytes(views: number, uniforms: UniformLayout): number {
  const words = 3 + views + uniforms.u32.length + uniforms.i32.length + uniforms.f32.length;
  return Math.ceil(words / 4) * 16;
}

/** The WGSL that goes before a kernel's own source. */
export function shaderHead(
  views: readonly ViewLayout[],
  uniforms: UniformLayout,
  half: HalfMode,
  directives: readonly string[] = [],
): string {
  const lines: string[] = [...directives];
  if (half === "native" && views.some((v) => v.dtype === "f16")) lines.push("enable f16;");
  lines.push(
    "struct Params {",
    // The first workgroup of this launch, those in a row of its folded grid, and those of the whole
    // grid, which may have been cut into several launches.
    "  grid_first: u32,",
    "  grid_width: u32,",
    "  grid_count: u32,",
    ...views.map((v) => `  ${v.name}_offset: u32,`),
    ...uniforms.u32.map((n) => `  ${n}: u32,`),
    ...uniforms.i32.map((n) => `  ${n}: i32,`),
    ...uniforms.f32.map((n) => `  ${n}: f32,`),
    "}",
    "@group(0) @binding(0) var<uniform> params: Params;",
    // Number of this workgroup in the whole grid. The last row of a folded grid may overshoot:
    // leave where it is not below params.grid_count.
    "fn linear_group(id: vec3u) -> u32 {",
    "  return params.grid_first + id.x + id.y * params.grid_width;",
    "}",
  );
  if (views.some((v) => v.dtype === "f16" && v.access !== "read" && isPacked("f16", half))) {
    lines.push(HALF_BITS);
  }
  const slots = Math.max(-1, ...views.map((v) => v.slot)) + 1;
  for (let slot = 0; slot < slots; slot++) {
    const sharing = views.filter((v) => v.slot === slot);
    if (sharing[0]!.vec8) {
      lines.push(...readByEights(sharing[0]!));
      continue;
    }
    const store = storageOf(sharing, half);
    const access = sharing.some((v) => v.access !== "read") ? "read_write" : "read";
    lines.push(`@group(0) @binding(${slot + 1}) var<storage, ${access}> b${slot}: ${store.type};`);
    for (const view of sharing) lines.push(...accessors(view, store));
  }
  return lines.join("\n") + "\n";
}

/** The f16 nearest to an f32, halves to even, in the low 16 bits. */
const HALF_BITS = `fn half_bits(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  let size = bits & 0x7fffffffu;
  // Rounded to 10 bits of mantissa; the exponent's bias goes from 127 to 15.
  var h = (size + 0xfffu + ((size >> 13u) & 1u) - 0x38000000u) >> 13u;
  // Below 2^-14 the numbers are multiples of 2^-24, which is what adding 0.5 rounds to.
  if (size < 0x38800000u) { h = bitcast<u32>(bitcast<f32>(size) + 0.5) - 0x3f000000u; }
  // From 65520 on, infinity.
  if (size >= 0x477ff000u) { h = 0x7c00u; }
  if (size > 0x7f800000u) { h = 0x7e00u; }
  return h | ((bits >> 16u) & 0x8000u);
}`;

/** How the elements of one storage binding are declared. */
interface Storage {
  readonly kind: "plain" | "vec4" | "words" | "atomicWords";
  readonly type: string;
}

/** Whether elements of `dtype` lie several to a 32-bit word. */
function isPacked(dtype: DType, half: HalfMode): boolean {
  return dtype === "u8" || (dtype === "f16" && half === "packed");
}

function storageOf(views: readonly ViewLayout[], half: HalfMode): Storage {
  const { dtype } = views[0]!;
  const scalarStores = views.some((v) => v.access !== "read" && !v.vec4);
  if (isPacked(dtype, half)) {
    return scalarStores
      ? { kind: "atomicWords", type: "array<atomic<u32>>" }
      : { kind: "words", type: "array<u32>" };
  }
  const scalar = dtype === "f16" ? "f16" : computeType(dtype);
  // Ones cannot be stored in an array of fours, but fours can be made of ones.
  return scalarStores || !views.some((v) => v.vec4)
    ? { kind: "plain", type: `array<${scalar}>` }
    : { kind: "vec4", type: `array<vec4<${scalar}>>` };
}

function readByEights({ name, slot }: ViewLayout): string[] {
  return [
    `@group(0) @binding(${slot + 1}) var<storage, read> b${slot}: array<vec4u>;`,
    `fn ${name}_load8(i: u32) -> vec4u { return b${slot}[(params.${name}_offset + i) >> 3u]; }`,
  ];
}

function accessors(view: ViewLayout, store: Storage): string[] {
  const { name, dtype, vec4, access } = view;
  const b = `b${view.slot}`;
  const at = `let e = params.${name}_offset + i;`;
  const ty = computeType(dtype);
  const lines: string[] = [];
  const packed = store.kind === "words" || store.kind === "atomicWords";
  const word = (index: string): string =>
    store.kind === "atomicWords" ? `atomicLoad(&${b}[${index}])` : `${b}[${index}]`;

  if (packed) {
    const value = dtype === "u8"
      ? `(${word("e >> 2u")} >> ((e & 3u) * 8u)) & 0xffu`
      : `unpack2x16float(${word("e >> 1u")})[e & 1u]`;
    lines.push(`fn ${name}_load(i: u32) -> ${ty} { ${at} return ${value}; }`);
  } else {
    const element = store.kind === "vec4" ? `${b}[e >> 2u][e & 3u]` : `${b}[e]`;
    lines.push(`fn ${name}_load(i: u32) -> ${ty} { ${at} return ${ty}(${element}); }`);
  }
  if (vec4) {
    const value = store.kind === "vec4"
      ? `vec4<${ty}>(${b}[e >> 2u])`
      : store.kind === "plain"
      ? `vec4<${ty}>(vec4(${b}[e], ${b}[e + 1u], ${b}[e + 2u], ${b}[e + 3u]))`
      : dtype === "u8"
      ? `(vec4u(${word("e >> 2u")}) >> vec4u(0u, 8u, 16u, 24u)) & vec4u(0xffu)`
      : `vec4f(unpack2x16float(${word("e >> 1u")}), unpack2x16float(${word("(e >> 1u) + 1u")}))`;
    lines.push(`fn ${name}_load4(i: u32) -> vec4<${ty}> { ${at} return ${value}; }`);
  }
  if (access === "read") return lines;

  if (vec4) {
    const stored = `let w = vec4<${dtype === "f16" ? "f16" : ty}>(v);`;
    const set = (index: string, value: string): string =>
      store.kind === "atomicWords"
        ? `atomicStore(&${b}[${index}], ${value});`
        : `${b}[${index}] = ${value};`;
    const body = store.kind === "vec4"
      ? `${stored} ${b}[e >> 2u] = w;`
      : store.kind === "plain"
      ? `${stored} ${b}[e] = w.x; ${b}[e + 1u] = w.y; ${b}[e + 2u] = w.z; ${b}[e + 3u] = w.w;`
      : dtype === "u8"
      ? `let w = (v & vec4u(0xffu)) << vec4u(0u, 8u, 16u, 24u);
  ${set("e >> 2u", "w.x | w.y | w.z | w.w")}`
      : `${set("e >> 1u", "half_bits(v.x) | (half_bits(v.y) << 16u)")}
  ${set("(e >> 1u) + 1u", "half_bits(v.z) | (half_bits(v.w) << 16u)")}`;
    lines.push(`fn ${name}_store4(i: u32, v: vec4<${ty}>) { ${at} ${body} }`);
  } else if (packed) {
    // Each element belongs to one thread, which clears and sets its bits only.
    const body = dtype === "u8"
      ? `let s = (e & 3u) * 8u; let p = &${b}[e >> 2u];
  atomicAnd(p, ~(0xffu << s)); atomicOr(p, (v & 0xffu) << s);`
      : `let s = (e & 1u) * 16u; let p = &${b}[e >> 1u];
  atomicAnd(p, ~(0xffffu << s)); atomicOr(p, half_bits(v) << s);`;
    lines.push(`fn ${name}_store(i: u32, v: ${ty}) { ${at} ${body} }`);
  } else {
    lines.push(
      `fn ${name}_store(i: u32, v: ${ty}) { ${at} ${b}[e] = ${dtype === "f16" ? "f16(v)" : "v"}; }`,
    );
  }
  return lines;
}
