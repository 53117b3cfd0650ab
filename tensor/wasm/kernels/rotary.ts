/**
 * Rotary position embedding (arXiv 2104.09864): pairs of neighbours turned by an angle that depends
 * on the token.
 */
import type { KernelArgs } from "../../kernels.ts";
import { claimChunks, kernel } from "../emit/abi.ts";
import { type Func, I64, Module, V128 } from "../emit/assembler.ts";
import { rowAddress, vectorContext, walk } from "../emit/rows.ts";
import type { WasmRuntime } from "../device/runtime.ts";
import { Slots } from "../emit/slots.ts";

/** Elements that a thread claims at a time. */
const CHUNK = 16384;

// deno-fmt-ignore
const SLOTS = new Slots([
  "n", "heads", "tokens", "rows", "chunkRows", "chunks", "x", "sampleBytes", "tokenBytes",
  "headBytes", "cosine", "sine", "out", "outSampleBytes", "outTokenBytes", "outHeadBytes", "sign",
]);

/** out = x cos + swapped(x) (-sin, sin, -sin, sin) sign, a row of `n` elements a token and head. */
function rotaryKernel(): Func {
  const f = kernel("rotary");
  const c = vectorContext(f);
  const slots = SLOTS.of(f);
  const n = slots.i64("n"), heads = slots.i64("heads"), tokens = slots.i64("tokens");
  const rows = slots.i64("rows"), chunkRows = slots.i64("chunkRows");
  const chunks = slots.i32("chunks");
  const x = slots.i64("x"), out = slots.i64("out");
  const cosine = slots.i64("cosine"), sine = slots.i64("sine");
  const sampleBytes = slots.i64("sampleBytes"), tokenBytes = slots.i64("tokenBytes");
  const headBytes = slots.i64("headBytes");
  const outSampleBytes = slots.i64("outSampleBytes"), outTokenBytes = slots.i64("outTokenBytes");
  const outHeadBytes = slots.i64("outHeadBytes");
  const sign = slots.f32x4("sign"), signs = f.local(V128);
  const bytes = f.local(I64), row = f.local(I64), end = f.local(I64);
  f.get(n).i64const(2).i64("shl").set(bytes);
  f.get(sign).i32x4lanes(0x80000000 | 0, 0, 0x80000000 | 0, 0).v128("xor").set(signs);
  claimChunks(f, chunks, (chunk) => {
    f.get(chunk).i64("extend_i32_u").get(chunkRows).i64("mul").tee(row);
    f.get(chunkRows).i64("add").set(end);
    f.get(end).get(rows).get(end).get(rows).i64("lt_s").select().set(end);
    f.for64(row, end, 1, () => {
      const head = f.local(I64), at = f.local(I64), token = f.local(I64), sample = f.local(I64);
      f.get(row).get(heads).i64("rem_u").set(head);
      f.get(row).get(heads).i64("div_u").tee(at).get(tokens).i64("rem_u").set(token);
      f.get(at).get(tokens).i64("div_u").set(sample);
      const ofSample = rowAddress(f, x, sample, sampleBytes);
      const ofToken = rowAddress(f, ofSample, token, tokenBytes);
      const from = rowAddress(f, ofToken, head, headBytes);
      const toSample = rowAddress(f, out, sample, outSampleBytes);
      const toToken = rowAddress(f, toSample, token, outTokenBytes);
      const to = rowAddress(f, toToken, head, outHeadBytes);
      const angles = [cosine, sine].map((base) => rowAddress(f, base, token, bytes));
      walk(c, n, [from, angles[0]!, angles[1]!, to], (step) => {
        const [values, cosines, sines] = [step.load(0), step.load(1), step.load(2)];
        values.forEach((value, i) => {
          f.get(value).get(value).shuffle32([1, 0, 3, 2]).get(sines[i]!).f32x4("mul");
          f.get(signs).f32x4("mul");
          f.get(value).get(cosines[i]!).f32x4("mul").f32x4("add").set(value);
        });
        step.store(3, values);
      });
    });
  });
  return f;
}

function build(): Module {
  const module = new Module();
  module.add(rotaryKernel());
  return module;
}

/** `rotary` of the kernel contract. */
export function rotary(runtime: WasmRuntime, args: KernelArgs["rotary"]): void {
  const { x, cosine, sine, inverse, out } = args;
  const [samples, tokens, heads, n] = x.shape as [number, number, number, number];
  const rows = samples * tokens * heads;
  const chunkRows = Math.max(1, Math.ceil(CHUNK / n));
  const slots = SLOTS.fill({
    n,
    heads,
    tokens,
    rows,
    chunkRows,
    chunks: Math.ceil(rows / chunkRows),
    x: runtime.address(x),
    sampleBytes: x.strides[0]! * 4,
    tokenBytes: x.strides[1]! * 4,
    headBytes: x.strides[2]! * 4,
    cosine: runtime.address(cosine),
    sine: runtime.address(sine),
    out: runtime.address(out),
    outSampleBytes: out.strides[0]! * 4,
    outTokenBytes: out.strides[1]! * 4,
    outHeadBytes: out.strides[2]! * 4,
    sign: inverse ? -1 : 1,
  });
  runtime.launch(runtime.load("rotary", build)("rotary"), slots, {
    threads: runtime.threadsFor(rows * n),
  });
}
