/**
 * The reference against PyTorch: what the other devices are held to must itself be right. Ops and
 * their gradients are put together here from kernels alone, as the layer above will do.
 */
import { assert } from "@std/assert";
import { loadSafetensors, toFloat32, toInt32 } from "../../io/mod.ts";
import { goldenTest } from "../../tests/fixtures.ts";
import type { Backend } from "../backend.ts";
import type { Activation } from "../kernels.ts";
import type { View } from "../view.ts";
import { program } from "../expr.ts";
import { contiguousStrides, type Shape, sizeOf } from "../shape.ts";
import { createReferenceBackend } from "./backend.ts";
import { download, empty, upload } from "./testing_test_util.ts";

/** Reads `<case>/<part>` of the golden ops and compares with them. */
class GoldenCase {
  readonly backend: Backend = createReferenceBackend();

  constructor(
    readonly name: string,
    readonly tensors: Awaited<ReturnType<typeof loadSafetensors>>,
  ) {}

  /** A stored tensor on the device. */
  load(part: string, shape?: Shape): View {
    const found = this.tensors.get(`${this.name}/${part}`);
    if (!found) throw new Error(`the golden ops have no ${this.name}/${part}`);
    const wide = found.dtype === "i64";
    const values = wide ? toInt32(found) : toFloat32(found);
    return upload(this.backend, shape ?? found.shape, values, wide ? "i32" : "f32");
  }

  empty(shape: Shape): View {
    return empty(this.backend, shape);
  }

  /** Asserts that `got` is the stored tensor, within a scaled error. */
  async check(part: string, got: View, limit = 1e-5): Promise<void> {
    const want = await download(this.backend, this.load(part));
    const values = await download(this.backend, got);
    assert(values.length === want.length, `${this.name}/${part} has another size`);
    const largest = want.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
    const error = want.reduce((a, b, i) => Math.max(a, Math.abs(b - values[i]!)), 0);
    assert(error <= limit * largest, `${this.name}/${part} is off by ${error} of ${largest}`);
  }
}

function goldenOps(title: string, names: string[], run: (golden: GoldenCase) => Promise<void>) {
  goldenTest(title, ["ops/ops.safetensors"], async ([path]) => {
    const tensors = await loadSafetensors(path!);
    for (const name of names) await run(new GoldenCase(name, tensors));
  });
}

/** The same elements with the last two dimensions exchanged. */
function transposed(view: View): View {
  const order = view.shape.map((_, i) => i);
  const [rows, columns] = order.splice(-2);
  order.push(columns!, rows!);
  return {
    ...view,
    shape: order.map((d) => view.shape[d]!),
    strides: order.map((d) => view.strides[d]!),
  };
}

/** The same elements with dimensions of 1 in front, four in all. */
function fourDimensional(view: View): View {
  const missing = 4 - view.shape.length;
  const ones = new Array<number>(missing).fill(1);
  return {
    ...view,
    shape: [...ones, ...view.shape],
    strides: [...ones.map(() => 0), ...view.strides],
  };
}

/** a . b of matrices or batches of them, activated after adding `bias`. */
function product(
  golden: GoldenCase,
  a: View,
  b: View,
  bias: View | null = null,
  activation: Activation = "none",
): View {
  const out = golden.empty([...a.shape.slice(0, -1), b.shape.at(-1)!]);
  golden.backend.run("matmul", {
    a: fourDimensional(a),
    b: fourDimensional(b),
    bias,
    activation,
    pre: null,
    out: fourDimensional(out),
    accumulate: false,
  }, "test");
  return out;
}

const identity = program("golden_test.identity", [{ kind: "input", ty: "f32" }], (x) => x);

/** The sum over the rows of a matrix. */
function columnSums(golden: GoldenCase, x: View): View {
  const columns = x.shape.at(-1)!;
  const shape = [1, sizeOf(x.shape) / columns, columns];
  const ins = [{ ...x, shape, strides: contiguousStrides(shape) }];
  const out = golden.empty([1, columns]);
  golden.backend.run(
    "reduce",
    { op: "sum", program: identity, ins, scalars: [], out },
    "test",
  );
  return out;
}

goldenOps("matmul and its gradients are PyTorch's", [
  "matmul_17x33x29",
  "matmul_1x1x1",
  "matmul_65x128x3",
  "matmul_5x257x7",
  "bmm_3x17x9x33",
  "bmm_2x16x64x16",
  "matmul_batch4d",
], async (golden) => {
  const [a, b, g] = [golden.load("in0"), golden.load("in1"), golden.load("gout0")];
  await golden.check("out0", product(golden, a, b));
  await golden.check("grad0", product(golden, g, transposed(b)));
  await golden.check("grad1", product(golden, transposed(a), g));
});

goldenOps(
  "matmul reads transposed operands",
  ["bmm_nt_3x17x9x33", "bmm_nt_2x16x64x16"],
  (golden) =>
    golden.check("out0", product(golden, golden.load("in0"), transposed(golden.load("in1")))),
);

goldenOps("a linear layer and its gradients are PyTorch's", ["linear"], async (golden) => {
  const [x, g] = [golden.load("in0", [51, 33]), golden.load("gout0", [51, 29])];
  const [w, bias] = [golden.load("in1"), golden.load("in2")];
  await golden.check("out0", product(golden, x, transposed(w), bias));
  await golden.check("grad0", product(golden, g, w));
  await golden.check("grad1", product(golden, transposed(g), x));
  await golden.check("grad2", columnSums(golden, g));
});

for (
  const [name, activation] of [["silu", "silu"], ["gelu_erf", "gelu"], [
    "gelu_tanh",
    "geluTanh",
  ]] as const
) {
  goldenOps(`${activation} at the end of a matrix product is PyTorch's`, [name], async (golden) => {
    const unit = Array.from({ length: 64 }, (_, i) => i % 9 === 0 ? 1 : 0);
    const eye = upload(golden.backend, [8, 8], unit);
    await golden.check("out0", product(golden, golden.load("in0"), eye, null, activation));
  });
}

goldenOps("softmax and its gradient are PyTorch's", [
  "softmax_17x33",
  "softmax_3x1",
  "softmax_2x3x16x16",
  "softmax_large_logits",
  "log_softmax",
], async (golden) => {
  const rows = (view: View): View => {
    const columns = view.shape.at(-1)!;
    const shape = [sizeOf(view.shape) / columns, columns];
    return { ...view, shape, strides: contiguousStrides(shape) };
  };
  const log = golden.name === "log_softmax";
  const limit = golden.name === "softmax_large_logits" ? 1e-3 : 1e-5;
  const x = rows(golden.load("in0"));
  const [y, dx] = [golden.empty(x.shape), golden.empty(x.shape)];
  golden.backend.run("softmax", { x, out: y, log }, "test");
  await golden.check("out0", y, limit);
  const g = rows(golden.load("gout0"));
  golden.backend.run("softmaxGrad", { y, g, out: dx, log }, "test");
  await golden.check("grad0", dx, limit);
});

goldenOps("layerNorm and its gradients are PyTorch's", [
  "layer_norm_2x17x33",
  "layer_norm_affine_2x17x33",
  "layer_norm_affine_4x64",
  "layer_norm_offset",
], async (golden) => {
  const affine = golden.name.includes("affine");
  const tokens = (part: string): View => {
    const view = golden.load(part);
    return golden.load(part, [1, sizeOf(view.shape.slice(0, -1)), view.shape.at(-1)!]);
  };
  const [x, g] = [tokens("in0"), tokens("gout0")];
  const [, rows, width] = x.shape as [number, number, number];
  const [mean, rstd] = [golden.empty([1, rows]), golden.empty([1, rows])];
  const [out, dx] = [golden.empty(x.shape), golden.empty(x.shape)];
  const weight = affine ? golden.load("in1") : null;
  const bias = affine ? golden.load("in2") : null;
  const dWeight = affine ? golden.empty([width]) : null;
  const dBias = affine ? golden.empty([width]) : null;
  const plain = { scale: null, shift: null, centred: true };
  const eps = affine ? 1e-5 : 1e-6;
  golden.backend.run("layerNorm", { x, weight, bias, ...plain, eps, out, mean, rstd }, "test");
  golden.backend.run("layerNormGrad", {
    x,
    g,
    weight,
    scale: null,
    centred: true,
    mean,
    rstd,
    dx,
    dWeight,
    dBias,
    dScale: null,
    dShift: null,
  }, "test");
  const limit = golden.name === "layer_norm_offset" ? 1e-3 : 1e-5;
  await golden.check("out0", out, limit);
  await golden.check("grad0", dx, limit);
  if (dWeight && dBias) {
    await golden.check("grad1", dWeight);
    await golden.check("grad2", dBias);
  }
});

goldenOps("groupNorm and its gradients are PyTorch's", [
  "group_norm_2x32x5x7",
  "group_norm_1x64x6x6",
  "group_norm_4groups",
], async (golden) => {
  const image = (part: string): View => {
    const [n, c, h, w] = golden.load(part).shape as [number, number, number, number];
    return golden.load(part, [n, c, h * w]);
  };
  const [x, g] = [image("in0"), image("gout0")];
  const [samples, channels] = x.shape as [number, number];
  const four = golden.name === "group_norm_4groups";
  const groups = four ? 4 : 32;
  const [mean, rstd] = [golden.empty([samples, groups]), golden.empty([samples, groups])];
  const [out, dx] = [golden.empty(x.shape), golden.empty(x.shape)];
  const [weight, bias] = [golden.load("in1"), golden.load("in2")];
  const [dWeight, dBias] = [golden.empty([channels]), golden.empty([channels])];
  const given = { x, weight, bias, groups, silu: false, mean, rstd };
  golden.backend.run("groupNorm", { ...given, eps: four ? 1e-5 : 1e-6, out }, "test");
  golden.backend.run("groupNormGrad", { ...given, g, dx, dWeight, dBias }, "test");
  await golden.check("out0", out);
  await golden.check("grad0", dx);
  await golden.check("grad1", dWeight);
  await golden.check("grad2", dBias);
});

/** Weights [Co, Ci, KH, KW] as the gradient by the input needs them: [Ci, Co], rotated by 180 degrees. */
async function rotated(golden: GoldenCase, w: View): Promise<View> {
  const [Co, Ci, KH, KW] = w.shape as [number, number, number, number];
  const from = await download(golden.backend, w);
  const to = from.map((_, i) => {
    const k = i % (KH * KW);
    const co = Math.floor(i / (KH * KW)) % Co;
    const ci = Math.floor(i / (KH * KW * Co));
    return from[(co * Ci + ci) * KH * KW + KH * KW - 1 - k]!;
  });
  return upload(golden.backend, [Ci, Co, KH, KW], to);
}

for (
  const [name, stride, pad] of [
    ["conv3x3_p1", 1, 1],
    ["conv3x3_s2_asym", 2, 0],
    ["conv3x3_s2_asym_odd", 2, 0],
    ["conv1x1", 1, 0],
    ["conv_patch2", 2, 0],
    ["conv_patch4", 4, 0],
    ["conv3x3_32ch", 1, 1],
  ] as const
) {
  goldenOps(`conv2d and its gradients are PyTorch's: ${name}`, [name], async (golden) => {
    const [x, w, bias] = [golden.load("in0"), golden.load("in1"), golden.load("in2")];
    const g = golden.load("gout0");
    const [out, dx] = [golden.empty(g.shape), golden.empty(x.shape)];
    const dw = golden.empty(w.shape);
    const pads = { padTop: pad, padLeft: pad };
    golden.backend.run("conv2d", { x, w, bias, stride, ...pads, dilation: 1, out }, "test");
    golden.backend.run("conv2dGradWeight", { x, g, stride, ...pads, out: dw }, "test");
    golden.backend.run("conv2d", {
      x: g,
      w: await rotated(golden, w),
      bias: null,
      stride: 1,
      padTop: w.shape[2]! - 1 - pad,
      padLeft: w.shape[3]! - 1 - pad,
      dilation: stride,
      out: dx,
    }, "test");
    await golden.check("out0", out);
    await golden.check("grad0", dx);
    await golden.check("grad1", dw);
  });
}

goldenOps("attention and its gradients are PyTorch's", [
  "attention_2x3x17x16",
  "attention_1x4x64x8",
], async (golden) => {
  const [q, k, v] = [golden.load("in0"), golden.load("in1"), golden.load("in2")];
  const scale = 1 / Math.sqrt(q.shape[3]!);
  const [out, stats] = [golden.empty(q.shape), golden.empty([...q.shape.slice(0, 3), 2])];
  const [dq, dk, dv] = [golden.empty(q.shape), golden.empty(k.shape), golden.empty(v.shape)];
  const g = golden.load("gout0");
  golden.backend.run("attention", { q, k, v, scale, out, stats }, "test");
  golden.backend.run("attentionGrad", { q, k, v, out, stats, g, scale, dq, dk, dv }, "test");
  await golden.check("out0", out);
  await golden.check("grad0", dq);
  await golden.check("grad1", dk);
  await golden.check("grad2", dv);
});

goldenOps("gather and scatterAdd are PyTorch's embedding", ["embedding", "embedding_2d"], async (
  golden,
) => {
  const table = golden.load("in1");
  const width = table.shape[1]!;
  const length = sizeOf(golden.load("in0").shape);
  const index = golden.load("in0", [length]);
  const [out, dTable] = [golden.empty([length, width]), golden.empty(table.shape)];
  golden.backend.run("gather", { table, index, out }, "test");
  await golden.check("out0", out);
  const g = golden.load("gout0", [length, width]);
  golden.backend.run("scatterAdd", { g, index, out: dTable }, "test");
  await golden.check("grad1", dTable);
});

goldenOps("cumsum and its gradient are PyTorch's", ["cumsum"], async (golden) => {
  const [x, g] = [golden.load("in0", [3, 17, 1]), golden.load("gout0", [3, 17, 1])];
  const [out, dx] = [golden.empty(x.shape), golden.empty(x.shape)];
  golden.backend.run("cumsum", { x, out, reverse: false }, "test");
  golden.backend.run("cumsum", { x: g, out: dx, reverse: true }, "test");
  await golden.check("out0", out);
  await golden.check("grad0", dx);
});
