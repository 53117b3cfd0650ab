/** Options that there are not, and values that the types rule out, as JavaScript can give them. */
import { assertRejects, assertThrows } from "@std/assert";
import * as d from "../mod.ts";
import { timestepEmbedding } from "../dit/mod.ts";
import { wrong } from "./bad_input.ts";

const TINY = { inputSize: 4, hiddenSize: 4, depth: 1, numHeads: 1 } as const;

Deno.test("options that there are not are named, with the right spelling where that is all", async () => {
  await d.init({ device: "reference" });
  const model = () => new d.DiT(TINY);
  const faults: readonly (readonly [run: () => unknown, message: string])[] = [
    [() => new d.DiT(wrong({ hidden_size: 8 })), "DiT: unknown option hidden_size; did you mean"],
    [
      () => new d.AutoencoderKL(wrong({ actFn: "silu" })),
      "AutoencoderKL: unknown option actFn; expected inChannels, outChannels",
    ],
    [() => new d.DiT({ ...TINY, bottleneck: -1 }), "DiT: expected a bottleneck of 0 or more but"],
    [() => new d.DiT({ ...TINY, earlyHead: 1 }), "earlyHead after 1 to 0 of 1 blocks, or 0 for"],
    [() => new d.DiT({ ...TINY, hiddenSize: 8, numHeads: 4, rope: true }), "with rope but got a"],
    [() => new d.DiT({ ...TINY, norm: wrong("batch") }), "DiT: expected norm layerNorm or rmsNorm"],
    [
      () => new d.FlowMatching({ objective: "epsilon" }),
      "expected objective v, xstart but got eps",
    ],
    [() => new d.FlowMatching({ timeShift: 0 }), "expected a time shift above 0 but got 0"],
    [() => new d.FlowMatching(wrong({ shift: 2 })), "FlowMatching: unknown option shift"],
    [() => d.createProcess(wrong("sit")), "expected process gaussian, flow but got sit"],
    [() => d.createDiffusion(wrong({ noise_schedule: "linear" })), "did you mean noiseSchedule?"],
    [() => new d.AdamW(model().parameters(), wrong({ betas1: 0.9 })), "AdamW: unknown option"],
    [() => new d.Ema(model(), wrong({ rate: 0.9 })), "Ema: unknown option rate"],
    [() => new d.GradScaler(wrong({ scale: 2 })), "GradScaler: unknown option scale"],
    [() => d.randn([2], wrong({ seed: 1 })), "randn: unknown option seed; expected generator"],
    [
      () => d.sampleProgressive(d.createDiffusion(), (x) => x, [1, 3, 4, 4], wrong({ cfg: 4 })),
      "sample: unknown option cfg",
    ],
    [
      () => d.guided((x) => x, wrong({ scale: 4, nullKwargs: {}, channels: 3 })),
      "guidance: unknown option channels",
    ],
  ];
  const [one, x, image] = [d.ones([2]), d.ones([2, 2]), d.ones([1, 2, 4, 4])];
  const heads = d.ones([1, 1, 2, 2]);
  const ops: readonly (readonly [op: string, run: (options: never) => unknown])[] = [
    ["tensor", (o) => d.tensor([1], [1], o)],
    ["zeros", (o) => d.zeros([1], o)],
    ["arange", (o) => d.arange(0, 3, 1, o)],
    ["sum", (o) => d.sum(x, null, o)],
    ["mean", (o) => d.mean(x, null, o)],
    ["max", (o) => d.max(x, null, o)],
    ["min", (o) => d.min(x, null, o)],
    ["variance", (o) => d.variance(x, null, o)],
    ["argmax", (o) => d.argmax(x, 0, o)],
    ["argmin", (o) => d.argmin(x, 0, o)],
    ["matmul", (o) => d.matmul(x, x, o)],
    ["linear", (o) => d.linear(x, x, null, o)],
    ["conv2d", (o) => d.conv2d(image, image, null, o)],
    ["attention", (o) => d.attention(heads, heads, heads, o)],
    ["selfAttention", (o) => d.selfAttention(d.ones([1, 2, 6]), 1, o)],
    ["layerNorm", (o) => d.layerNorm(x, o)],
    ["layerNormModulate", (o) => d.layerNormModulate(d.ones([2, 2, 2]), x, x, o)],
    ["groupNorm", (o) => d.groupNorm(image, 1, o)],
    ["dropout", (o) => d.dropout(one, 0.5, o)],
    ["slice", (o) => d.slice(one, 0, o)],
    ["Linear", (o) => new d.nn.Linear(2, 2, o)],
    ["Conv2d", (o) => new d.nn.Conv2d(2, 2, 1, o)],
    ["LayerNorm", (o) => new d.nn.LayerNorm(2, o)],
    ["GroupNorm", (o) => new d.nn.GroupNorm(1, 2, o)],
    ["Embedding", (o) => new d.nn.Embedding(2, 2, o)],
    ["Dropout", (o) => new d.nn.Dropout(0.5, o)],
    ["Attention", (o) => new d.nn.Attention(2, 1, o)],
    ["Mlp", (o) => new d.nn.Mlp(2, 2, o)],
    ["loadStateDict", (o) => new d.nn.Mlp(2, 2).loadStateDict({}, o)],
    ["DiT.forwardWithCfg", (o) => model().forwardWithCfg(x, one, one, 4, o)],
    ["trainingLosses", (o) => d.createDiffusion().trainingLosses((x) => x, image, 0, o)],
    ["pSample", (o) => d.createDiffusion().pSample((x) => x, image, 0, o)],
    ["ddimSample", (o) => d.createDiffusion().ddimSample((x) => x, image, 0, o)],
    ["calcBpdLoop", (o) => d.createDiffusion().calcBpdLoop((x) => x, image, o)],
  ];
  for (const [op, run] of ops) {
    assertThrows(() => run(wrong({ mask: x })), TypeError, `${op}: unknown option mask`);
  }
  for (const [run, message] of faults) assertThrows(run, Error, message);
  await assertRejects(
    () => d.init(wrong({ backend: "wasm" })),
    TypeError,
    "init: unknown option backend; expected device, gpu, wasm, webgpu",
  );
  await assertRejects(
    () => d.init({ device: "reference", webgpu: wrong({ gpu: {} }) }),
    TypeError,
    "init: webgpu: unknown option gpu; expected half, powerPreference",
  );
});

Deno.test("values that the types rule out are refused by the op, in JavaScript too", async () => {
  await d.init({ device: "reference" });
  using _ = d.scope();
  const x = d.ones([2, 2]);
  const faults: readonly (readonly [run: () => unknown, message: string])[] = [
    [() => d.add(x, wrong("3")), 'add: expected a tensor or a number as operand 1 but got "3"'],
    [() => d.add(x, wrong([1])), "operand 1 but got an object of class Array"],
    [() => d.add(x, wrong(1n)), "operand 1 but got the bigint 1"],
    [() => d.mul(wrong([1, 2]), x), "mul: expected a tensor or a number as operand 0"],
    [() => d.lt(x, wrong(undefined)), "lt: expected a tensor or a number as operand 1"],
    [() => d.matmul(wrong(3), x), "matmul: expected a tensor as operand 0 but got the number 3"],
    [() => d.full([2], wrong("1")), 'full: expected a number but got "1"'],
    [
      () => d.cast(x, wrong(undefined)),
      "cast: expected a dtype f32, f16, i32, u32, u8 but got und",
    ],
    [() => d.reshape(x, wrong(undefined)), "reshape: expected a shape of whole numbers, 0 or more"],
    [() => d.reshape(x, wrong(1)), "or more, but got the number 1"],
    [() => d.reshape(x, [-1, -1]), "reshape: expected one -1 at most but got [-1, -1]"],
    [() => d.permute(x, wrong(undefined)), "permute: expected axes, an array, but got undefined"],
    [() => d.expand(x, wrong(3)), "expand: expected a shape, an array, but got the number 3"],
    [() => d.split(x, wrong(undefined)), "split: expected sizes, an array, but got undefined"],
    [() => d.pad(x, wrong(undefined)), "pad: expected pairs of widths, an array, but got und"],
    [() => d.pad(x, wrong([1, 2])), "pad: expected 2 pairs of widths, 0 or more, but got [1,2]"],
    [() => d.repeat(x, wrong(2)), "repeat: expected counts, an array, but got the number 2"],
    [() => d.concat(wrong(x)), "concat: expected tensors, an array, but got an object of class"],
    [() => d.stack(wrong(undefined)), "stack: expected tensors, an array, but got undefined"],
    [() => d.mean(x, wrong("0")), 'mean: expected an axis, or several, an array, but got "0"'],
    [() => d.softmax(x, wrong("0")), 'softmax: expected an axis in [-2, 2) but got "0"'],
    [() => d.rotaryEmbedding(x, wrong(undefined)), "rotaryEmbedding: expected a tensor as operand"],
    [() => d.linear(x, x, wrong([1])), "linear: expected a tensor as operand 2 but got an object"],
    [() => d.layerNorm(x, { weight: wrong([1]), bias: x }), "layerNorm: expected a tensor as oper"],
    [() => d.layerNormModulate(x, x, wrong(undefined)), "layerNormModulate: expected a tensor as"],
    [() => d.layerNorm(x, wrong(null)), "layerNorm: expected options, an object, but got null"],
    [() => d.cast(x, wrong("f64")), "cast: expected a dtype f32, f16, i32, u32, u8 but got f64"],
    [() => d.zeros([2], { dtype: wrong("int64") }), "zeros: expected a dtype f32, f16"],
    [() => d.zeros([2], { device: wrong("cpu") }), "zeros: expected a device that init() gave"],
    [() => d.randn([2], { dtype: wrong("i32") }), "randn: expected f32 or f16 but got i32"],
    [() => d.randn([2], { generator: wrong(5) }), "randn: expected a Generator but got 5"],
    [
      () => d.linear(x, x, null, { activation: wrong("swish") }),
      "linear: expected activation none",
    ],
    [() => d.gelu(x, wrong("Tanh")), 'gelu: expected approximate "none" or "tanh" but got Tanh'],
    [
      () => d.createDiT("DiT-S/8", { hiddenSize: 8 }),
      "createDiT: expected hiddenSize 384 of a DiT-S/8 but got 8",
    ],
    [() => d.autocast(wrong("bf16"), () => x), "autocast: expected f16 or null but got bf16"],
  ];
  for (const [run, message] of faults) assertThrows(run, Error, message);
});

Deno.test("settings that are no numbers, or too small, are refused before they make NaN of all", async () => {
  await d.init({ device: "reference" });
  using _ = d.scope();
  const [x, heads, image] = [d.ones([2, 2]), d.ones([1, 1, 2, 2]), d.ones([1, 2, 2, 2])];
  const [ones, tokens] = [d.ones([2]), d.ones([1, 2, 6])];
  const norm = (eps: number) => d.groupNorm(image, 1, { weight: ones, bias: ones, eps });
  const faults: readonly (readonly [run: () => unknown, message: string])[] = [
    [
      () => d.attention(heads, heads, heads, { scale: NaN }),
      "attention: expected scale to be a finite number but got NaN",
    ],
    [
      () => d.selfAttention(tokens, 1, { scale: wrong("1") }),
      'selfAttention: expected scale to be a finite number but got "1"',
    ],
    [() => d.layerNorm(x, { eps: NaN }), "layerNorm: expected eps to be 0 or more but got NaN"],
    [() => d.rmsNorm(x, { eps: Infinity }), "rmsNorm: expected eps to be 0 or more but got Inf"],
    [
      () => d.layerNormModulate(tokens, d.ones([1, 6]), d.ones([1, 6]), { eps: NaN }),
      "layerNormModulate: expected eps to be 0 or more but got NaN",
    ],
    [() => norm(-1), "groupNorm: expected eps to be 0 or more but got -1"],
    [
      () => timestepEmbedding(ones, NaN),
      "timestepEmbedding: expected a whole number of features but got NaN",
    ],
    [() => timestepEmbedding(ones, 4, 0), "timestepEmbedding: expected a period above 0 but got 0"],
  ];
  for (const [run, message] of faults) assertThrows(run, RangeError, message);
  norm(0);
});
