/**
 * Every op with its gradients against PyTorch's: the cases of `golden/ops`, on every device. What
 * PyTorch calls an op and what it is called here stands in one table.
 */
import { assert, assertEquals } from "@std/assert";
import {
  abs,
  add,
  addcmul,
  argmax,
  attention,
  chunk,
  clamp,
  concat,
  conv2d,
  cos,
  cumsum,
  detach,
  div,
  embedding,
  erf,
  exp,
  expand,
  flatten,
  ge,
  gelu,
  gradients,
  groupNorm,
  layerNorm,
  linear,
  log,
  logSoftmax,
  lt,
  matmul,
  max,
  maximum,
  mean,
  min,
  minimum,
  mse,
  mul,
  neg,
  pad,
  Parameter,
  permute,
  pow,
  reciprocal,
  relu,
  repeat,
  reshape,
  rsqrt,
  sigmoid,
  silu,
  sin,
  slice,
  softmax,
  split,
  sqrt,
  stack,
  sub,
  sum,
  tanh,
  transpose,
  unsqueeze,
  upsampleNearest,
  variance,
  where,
} from "../autograd/mod.ts";
import {
  type HostTensor,
  loadSafetensors,
  toFloat32,
  toFloat64,
  toInt32,
  typedArray,
} from "../io/mod.ts";
import { scope, type Shape, type Tensor, tensor } from "../tensor/mod.ts";
import { absoluteError, eachDevice, scaledError } from "./devices.ts";
import { goldenPath, unreadable } from "./fixtures.ts";

/** One case of `ops.json`. */
interface Case {
  name: string;
  op: string;
  attrs: Attrs;
  /** Shapes. */
  inputs: Shape[];
  /** Which inputs have a gradient. */
  grads: number[];
  outputs: Shape[];
}

/** Arguments besides the tensors; a case has those of its op only. */
interface Attrs {
  dim: number;
  keepdim: boolean;
  eps: number;
  affine: boolean;
  groups: number;
  heads: number;
  scale: number;
  min: number;
  max: number;
  stride: number;
  padding: [top: number, bottom: number, left: number, right: number];
  pad_top: number;
  pad_bottom: number;
  pad_left: number;
  pad_right: number;
  chunks: number;
  size: number;
  p: number;
  c: number;
  h: number;
  w: number;
}

type Result = Tensor | Tensor[];
type Call = (x: Tensor[], attrs: Attrs) => Result;

/** An op of one operand that needs nothing else. */
const unary = (op: (x: Tensor) => Tensor): Call => ([x]) => op(x!);
const binary = (op: (a: Tensor, b: Tensor) => Tensor): Call => ([a, b]) => op(a!, b!);
const reduction = (op: typeof sum): Call => ([x], { dim, keepdim }) => op(x!, dim, { keepdim });

const conv: Call = ([x, w, b], { stride, padding: [top, bottom, left, right] }) =>
  conv2d(x!, w!, b!, { stride, padding: { top, bottom, left, right } });
const asymmetricConv: Call = ([x, w, b], attrs) =>
  conv2d(x!, w!, b!, {
    stride: attrs.stride,
    padding: {
      top: attrs.pad_top,
      bottom: attrs.pad_bottom,
      left: attrs.pad_left,
      right: attrs.pad_right,
    },
  });

/** What PyTorch calls it, and what it is here. */
const CALLS: Record<string, Call> = {
  // products
  "matmul": binary(matmul),
  "bmm": binary(matmul),
  "matmul(a, b.transpose(-2,-1))": ([a, b]) => matmul(a!, b!, { transposeB: true }),
  "matmul(a.transpose(-2,-1), b)": ([a, b]) => matmul(a!, b!, { transposeA: true }),
  "linear(x,w,b)": ([x, w, b]) => linear(x!, w!, b!),
  "linear(x,w)": ([x, w]) => linear(x!, w!),
  "einsum m,d->md": ([a, b]) => mul(unsqueeze(a!, 1), b!),
  "conv2d": conv,
  "pad(0,1,0,1) then conv2d stride 2": asymmetricConv,
  "softmax(q k^T * D^-0.5) v": ([q, k, v], { scale }) => attention(q!, k!, v!, { scale }),

  // normalisation
  "softmax": ([x], { dim }) => softmax(x!, dim),
  "log_softmax": ([x], { dim }) => logSoftmax(x!, dim),
  "layer_norm": ([x, weight, bias], { eps, affine }) =>
    layerNorm(x!, affine ? { weight: weight!, bias: bias!, eps } : { eps }),
  "group_norm": ([x, weight, bias], { groups, eps }) =>
    groupNorm(x!, groups, { weight: weight!, bias: bias!, eps }),

  // one element at a time
  "silu": unary(silu),
  "gelu(approximate=tanh)": ([x]) => gelu(x!, "tanh"),
  "gelu(erf)": unary(gelu),
  "sigmoid": unary(sigmoid),
  "tanh": unary(tanh),
  "relu": unary(relu),
  "exp": unary(exp),
  "log": unary(log),
  "sqrt": unary(sqrt),
  "rsqrt": unary(rsqrt),
  "1/x": unary(reciprocal),
  "x**2": ([x]) => pow(x!, 2),
  "x**3": ([x]) => pow(x!, 3),
  "x**0.5": ([x]) => pow(x!, 0.5),
  "x**-1.5": ([x]) => pow(x!, -1.5),
  "sin": unary(sin),
  "cos": unary(cos),
  "abs": unary(abs),
  "neg": unary(neg),
  "erf": unary(erf),
  "clamp": ([x], { min, max }) => clamp(x!, min, max),
  "clamp(min)": ([x], { min }) => clamp(x!, min),
  "add": binary(add),
  "sub": binary(sub),
  "mul": binary(mul),
  "div": binary(div),
  "maximum": binary(maximum),
  "minimum": binary(minimum),
  "where(cond,a,b)": ([condition, a, b]) => where(condition!, a!, b!),
  "x<y, x>=0": ([x, y]) => [lt(x!, y!), ge(x!, 0)],
  "(2.5*x-1)/3+x*x": ([x]) => add(div(sub(mul(2.5, x!), 1), 3), mul(x!, x!)),
  "x*(1+scale[:,None,:])+shift[:,None,:]": ([x, shift, scale]) =>
    add(mul(x!, add(1, unsqueeze(scale!, 1))), unsqueeze(shift!, 1)),
  "x + g[:,None,:]*y": ([x, gate, y]) => addcmul(x!, unsqueeze(gate!, 1), y!),
  "x*x + x.sum() * x": ([x]) => add(mul(x!, x!), mul(sum(x!), x!)),
  "x.detach()*x": ([x]) => mul(detach(x!), x!),

  // reductions
  "sum": reduction(sum),
  "mean": reduction(mean),
  "max": unary(max),
  "min": unary(min),
  "amax(dim=-1)": ([x]) => max(x!, -1),
  "amin(dim=0)": ([x]) => min(x!, 0),
  "argmax(dim=-1)": ([x]) => argmax(x!, -1),
  "var(dim=-1, unbiased=True)": ([x]) => variance(x!, -1),
  "cumsum(dim=1)": ([x]) => cumsum(x!, 1),
  "mean((a-b)^2)": binary(mse),

  // elements moved
  "interpolate nearest x2": ([x]) => upsampleNearest(x!),
  "pad (0,1,0,1)": ([x]) => pad(x!, [[0, 0], [0, 0], [0, 1], [0, 1]]),
  "reshape(B,N,3,H,D).permute(2,0,3,1,4)": ([x], { heads }) => {
    const [b, n, width] = x!.shape as [number, number, number];
    const permuted = permute(reshape(x!, [b, n, 3, heads, width / 3 / heads]), [2, 0, 3, 1, 4]);
    return split(permuted, 1).map((part) => reshape(part, part.shape.slice(1)));
  },
  "embedding(idx, table)": ([index, table]) => embedding(table!, index!),
  "table[idx]": ([table, index]) => reshape(embedding(unsqueeze(table!, 1), index!), [-1]),
  "cat(dim=1)": (inputs) => concat(inputs, 1),
  "cat(dim=0)": (inputs) => concat(inputs, 0),
  "chunk(6, dim=1)": ([x], { chunks, dim }) => chunk(x!, chunks, dim),
  "chunk(3, dim=0)": ([x], { chunks, dim }) => chunk(x!, chunks, dim),
  "split(3, dim=1)": ([x], { size, dim }) => split(x!, size, dim),
  "x[:, 1:7:2, :-1]": ([x]) => slice(slice(x!, 1, { start: 1, end: 7, step: 2 }), 2, { end: -1 }),
  "permute(0,2,3,1).reshape(2,-1,3)": ([x]) => reshape(permute(x!, [0, 2, 3, 1]), [2, -1, 3]),
  "transpose(1,2)": ([x]) => transpose(x!, 1, 2),
  "flatten(2).transpose(1,2)": ([x]) => transpose(flatten(x!, 2), 1, 2),
  "reshape(n,h,w,p,p,c); einsum nhwpqc->nchpwq; reshape(n,c,h*p,w*p)": ([x], { p, c, h, w }) => {
    const n = x!.shape[0]!;
    const patches = permute(reshape(x!, [n, h, w, p, p, c]), [0, 5, 1, 3, 2, 4]);
    return reshape(patches, [n, c, h * p, w * p]);
  },
  "expand": ([x]) => expand(x!, [4, 3, 5]),
  "repeat(2,3)": ([x]) => repeat(x!, [2, 3]),
  "stack(dim=1)": (inputs) => stack(inputs, 1),
};

const LIMIT = 1e-5;
const LIMITS: Record<string, number> = {
  layer_norm_constant_rows: 1e-3,
  softmax_large_logits: 1e-3,
  layer_norm_offset: 1e-3,
};
/** Outputs of which PyTorch stores nothing but rounding errors: compared absolutely. */
const ABSOLUTE = new Set(["layer_norm_constant_rows/out0"]);

function upload(value: HostTensor): Tensor {
  switch (value.dtype) {
    case "f32":
      return tensor(toFloat32(value), value.shape);
    case "i64":
      return tensor(toInt32(value), value.shape);
    case "bool":
      return tensor(typedArray({ ...value, dtype: "bool" }), value.shape);
    default:
      throw new Error(`no test input is ${value.dtype}`);
  }
}

function numbersOf(value: HostTensor): Float64Array | Int32Array | Uint8Array {
  if (value.dtype === "bool") return typedArray({ ...value, dtype: "bool" });
  return value.dtype === "i64" ? toInt32(value) : toFloat64(value);
}

async function check(one: Case, golden: ReadonlyMap<string, HostTensor>): Promise<void> {
  const call = CALLS[one.op];
  assert(call, `no mapping for ${one.op}`);
  using _ = scope();
  const stored = (what: string): HostTensor => {
    const value = golden.get(`${one.name}/${what}`);
    assert(value, `${one.name}/${what} is missing`);
    return value;
  };
  const inputs = one.inputs.map((_, i) => {
    const value = upload(stored(`in${i}`));
    return one.grads.includes(i) ? new Parameter(value) : value;
  });
  const result = call(inputs, one.attrs);
  const outs = Array.isArray(result) ? result : [result];
  assertEquals(outs.map((t) => t.shape), one.outputs);

  const got = new Map(outs.map((t, i) => [`out${i}`, t]));
  if (one.grads.length > 0) {
    const loss = outs.map((out, i) => {
      return out.rank === 0 ? out : sum(mul(out, upload(stored(`gout${i}`))));
    }).reduce((a, b) => add(a, b));
    const grads = gradients(loss, one.grads.map((i) => inputs[i]!));
    grads.forEach((grad, k) => got.set(`grad${one.grads[k]}`, grad));
  }
  for (const [what, value] of got) {
    const [data, want] = [await value.data(), numbersOf(stored(what))];
    assertEquals(value.shape, stored(what).shape, what);
    const limit = LIMITS[one.name] ?? LIMIT;
    const error = ABSOLUTE.has(`${one.name}/${what}`)
      ? absoluteError(data, want)
      : scaledError(data, want);
    assert(error <= limit, `${what} is off by ${error}, more than ${limit}`);
  }
}

const [table, values] = ["ops/ops.json", "ops/ops.safetensors"].map((file) => goldenPath(file));
if (table && values) {
  const { cases } = JSON.parse(await Deno.readTextFile(table)) as { cases: Case[] };
  const golden = await loadSafetensors(values);
  Deno.test("every op of the golden cases has a mapping, and every mapping a case", () => {
    assertEquals([...new Set(cases.map((c) => c.op))].sort(), Object.keys(CALLS).sort());
  });
  for (const one of cases) eachDevice(`golden ops: ${one.name}`, () => check(one, golden));
} else {
  const why = unreadable ?? "needs golden ops/ops.json";
  Deno.test({ name: `golden ops (${why})`, ignore: true, fn: () => {} });
}
