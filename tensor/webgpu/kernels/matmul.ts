/** Matrix products: strided operands and the epilogue around the tiled kernel of product.ts. */
import type { Activation, KernelArgs } from "../../kernels.ts";
import type { View } from "../../view.ts";
import type { Program } from "../../expr.ts";
import { declareActivation } from "../shader/activation.ts";
import { canVec4, type ViewBinding } from "../shader/accessors.ts";
import { matrixOperand } from "./matrix_product.ts";
import { type Product, runProduct } from "./product.ts";
import { type Plan, productLayout } from "./product_plan.ts";
import type { WebGpuRuntime } from "../device/runtime.ts";
import { stridedOperand } from "../shader/strided.ts";
import { PRELUDE, programSource } from "../shader/wgsl.ts";
import { ranInChunks } from "../device/chunks.ts";

/** What a product may do besides the contract's. */
export interface MatmulOptions {
  /** Bias of rows, [M], instead of columns: channels of a convolution. */
  readonly rowBias?: View | null;
  /** For tests and benchmarks: this plan instead of the usual one. */
  readonly plan?: Plan;
}

/** See {@linkcode KernelArgs}. */
export function matmul(
  runtime: WebGpuRuntime,
  args: KernelArgs["matmul"],
  op: string,
  options: MatmulOptions = {},
): void {
  const again = (part: KernelArgs["matmul"]): void => matmul(runtime, part, op, options);
  if (ranInChunks(runtime, "matmul", args, op, again)) return;
  const { activation, accumulate, pre, combine = null, operand = null, sums = null } = args;
  const { activationA = "none", activationB = "none" } = args;
  const [a, b, flatOut] = mergeBatches(args);
  const [outer, inner, m, n] = flatOut.shape as [number, number, number, number];
  const k = a.shape[3]!;
  const left = stridedOperand("a", a, 2, 3, "params.m");
  const right = stridedOperand("b", b, 3, 2, "params.n");
  const [readA, readB] = [readThrough("ofA", activationA), readThrough("ofB", activationB)];
  const isActivated = readA.through !== undefined || readB.through !== undefined;
  const bias = options.rowBias ?? args.bias;
  const byVec4 = n % 4 === 0 && [flatOut, pre, operand].every((v) => v === null || canVec4(v));
  const biasVec4 = byVec4 && !options.rowBias && bias !== null && canVec4(bias);

  const outputs: ViewBinding[] = [
    { name: "result", view: flatOut, access: accumulate ? "readwrite" : "write", vec4: byVec4 },
  ];
  if (bias) outputs.push({ name: "bias", view: bias, access: "read", vec4: biasVec4 });
  if (pre) outputs.push({ name: "pre", view: pre, access: "write", vec4: byVec4 });
  if (operand) outputs.push({ name: "operand", view: operand, access: "read", vec4: byVec4 });
  const epilogue: Epilogue = {
    byVec4,
    bias: !bias ? "none" : options.rowBias ? "row" : biasVec4 ? "columns" : "column",
    pre: pre !== null,
    activation,
    accumulate,
    combine,
  };
  const { combine: _, ...switches } = epilogue;
  runProduct(runtime, {
    op,
    key: `matmul/${left.key}${readA.key}/${right.key}${readB.key}/${
      Object.values(switches).join()
    }${combine ? `/${combine.key}` : ""}`,
    batches: outer * inner,
    m,
    n,
    k,
    left: { ...left, through: readA.through },
    right: { ...right, through: readB.through },
    declarations: `${readA.declaration}\n${readB.declaration}`,
    locate: "  let outer = batch / params.inner;\n  let inner = batch % params.inner;",
    inputs: [left.binding, right.binding],
    outputs,
    finish: finishSource(epilogue),
    uniforms: {
      inner,
      ...left.uniforms,
      ...right.uniforms,
      resultOuter: flatOut.strides[0]!,
      resultInner: flatOut.strides[1]!,
      resultRow: flatOut.strides[2]!,
      biasStep: bias?.strides.at(-1) ?? 0,
    },
    leftSums: sums,
    layout: productLayout([a.dtype, b.dtype], [left.order, right.order], [
      activationA !== "none",
      activationB !== "none",
    ]),
    isOfWeights: left.order === "across" && right.order === "across",
    // matrix units are given operands as they lie in memory
    matrices: isActivated ? null : runtime.matrices && onMatrices(a, b),
    plan: options.plan,
  });
}

/** How an operand is read through an activation: its part of the key, and the function. */
function readThrough(name: string, activation: Activation) {
  if (activation === "none") return { key: "", declaration: "", through: undefined };
  const declaration = declareActivation(activation, "vec4f", name);
  return { key: ` ${activation}`, declaration, through: name };
}

/**
 * Where all batches share b, and the rows of a and out have one stride across batches, they
 * are one product with more rows.
 */
function mergeBatches({ a, b, out }: KernelArgs["matmul"]): [View, View, View] {
  let views: [View, View, View] = [a, b, out];
  for (const axis of [1, 0]) {
    const [x, y, z] = views;
    const batch = x.shape[axis]!;
    // Axis 0 only joins the rows once axis 1 has.
    if (axis === 0 && x.shape[1] !== 1) break;
    if (batch === 1) continue;
    const m = x.shape[2]!;
    const follows = (v: View): boolean => m === 1 || v.strides[axis] === m * v.strides[2]!;
    if (y.strides[axis] !== 0 || !follows(x) || !follows(z)) break;
    views = [joinRows(x, axis), dropBatch(y, axis), joinRows(z, axis)];
  }
  return views;
}

function joinRows(view: View, axis: number): View {
  const m = view.shape[2]!;
  const rowStride = m === 1 ? view.strides[axis]! : view.strides[2]!;
  return {
    ...dropBatch(view, axis),
    shape: view.shape.map((d, i) => i === axis ? 1 : i === 2 ? m * view.shape[axis]! : d),
    strides: view.strides.map((s, i) => i === axis ? 0 : i === 2 ? rowStride : s),
  };
}

function dropBatch(view: View, axis: number): View {
  return {
    ...view,
    shape: view.shape.map((d, i) => i === axis ? 1 : d),
    strides: view.strides.map((s, i) => i === axis ? 0 : s),
  };
}

/** Both operands as matrix units read them; null where they cannot. */
function onMatrices(a: View, b: View): Product["matrices"] {
  const left = matrixOperand("a", a, 2, 3);
  const right = left && matrixOperand("b", b, 3, 2);
  return left && right && [left, right];
}

interface Epilogue {
  readonly byVec4: boolean;
  readonly bias: "none" | "row" | "column" | "columns";
  readonly pre: boolean;
  readonly activation: Activation;
  readonly accumulate: boolean;
  readonly combine: Program | null;
}

/** Bias, a copy for the gradient, activation, and adding to what is there, on the way out. */
function finishSource(epilogue: Epilogue): string {
  const { byVec4, bias, pre, activation, accumulate, combine } = epilogue;
  const [type, four] = byVec4 ? ["vec4f", "4"] as const : ["f32", ""] as const;
  const lines = [declareActivation(activation, type)];
  if (combine) lines.push(PRELUDE, programSource(combine));
  lines.push(`
fn finish${byVec4 ? "" : "One"}(batch: u32, row: u32, column: u32, sum: ${type}) {
  if (row >= params.m || column >= params.n) { return; }
  var value = sum;`);
  if (bias === "row") lines.push("  value += bias_load(row * params.biasStep);");
  if (bias === "columns") lines.push("  value += bias_load4(column);");
  if (bias === "column") {
    const one = (i: number) => `bias_load((column + ${i}u) * params.biasStep)`;
    lines.push(`  value += ${byVec4 ? `vec4f(${[0, 1, 2, 3].map(one).join(", ")})` : one(0)};`);
  }
  const place = "(batch * params.m + row) * params.n + column";
  if (pre) lines.push(`  pre_store${four}(${place}, value);`);
  lines.push("  value = activation(value);");
  if (combine) {
    const one = (lane: string) => `compute(0u, value${lane}, other${lane}).o0`;
    lines.push(`  let other = operand_load${four}(${place});`);
    lines.push(`  value = ${byVec4 ? `vec4f(${[".x", ".y", ".z", ".w"].map(one)})` : one("")};`);
  }
  lines.push(`
  let at = batch / params.inner * params.resultOuter +
    batch % params.inner * params.resultInner + row * params.resultRow + column;`);
  if (accumulate) lines.push(`  value += result_load${four}(at);`);
  lines.push(`  result_store${four}(at, value);\n}`);
  if (!byVec4) {
    lines.push(`
fn finish(batch: u32, row: u32, column: u32, sum: vec4f) {
  finishOne(batch, row, column, sum.x);
  finishOne(batch, row, column + 1u, sum.y);
  finishOne(batch, row, column + 2u, sum.z);
  finishOne(batch, row, column + 3u, sum.w);
}`);
  }
  return lines.join("\n");
}
