/** Ops given element types that do not mix, and numbers that a type cannot hold: named errors. */
import { assert, assertMatch, assertThrows } from "@std/assert";
import * as d from "../mod.ts";
import type { Tensor } from "../tensor/mod.ts";
import { f, generator, half, i32, testFaults, u32, u8, wrong, z } from "./bad_input.ts";
import { eachDevice } from "./devices.ts";

const { DTypeError } = d;

/** Angles of one token that are no floating-point numbers. */
const angles = (): Tensor => d.reshape(i32(1, 1), [1, 2]);

testFaults({
  "types that do not mix": [
    [
      () => d.add(z(2), half(2)),
      DTypeError,
      "add: expected one dtype, f32, f16, i32 or u32, but got f32 and f16; cast first",
    ],
    [() => d.mul(i32(1), f(1)), DTypeError, "mul: expected one dtype"],
    [() => d.div(i32(1), i32(1)), DTypeError, "div: expected one dtype, f32 or f16, but got i32"],
    [() => d.exp(i32(1)), DTypeError, "exp: expected one dtype, f32 or f16, but got i32"],
    [() => d.pow(i32(3), 3), DTypeError, "pow: expected one floating-point dtype"],
    [() => d.add(u8(1), u8(1)), DTypeError, "add: expected one dtype"],
    [() => d.neg(u8(1)), DTypeError, "neg: expected one dtype"],
    [() => d.lt(i32(1), f(1)), DTypeError, "lt: expected one dtype but got i32 and f32"],
    [
      () => d.where(f(1), f(1), f(2)),
      DTypeError,
      "where: expected a condition of u8 or integers but got f32",
    ],
    [() => d.where(u8(1), f(1), i32(2)), DTypeError, "where: expected one dtype"],
    [() => d.sum(i32(1, 2)), DTypeError, "sum: expected f32 or f16 but got i32; cast first"],
    [() => d.max(u8(1, 2)), DTypeError, "max: expected f32 or f16 but got u8"],
    [() => d.argmax(i32(1, 2), 0), DTypeError, "argmax: expected one floating-point dtype"],
    [() => d.cumsum(i32(1, 2), 0), DTypeError, "cumsum: expected one floating-point dtype"],
    [() => d.softmax(i32(1, 2), 0), DTypeError, "softmax: expected one floating-point dtype"],
    [() => d.layerNorm(i32(1, 2)), DTypeError, "layerNorm: expected one floating-point dtype"],
    [() => d.rmsNorm(i32(1, 2)), DTypeError, "rmsNorm: expected one floating-point dtype"],
    [() => d.swiglu(i32(1, 2)), DTypeError, "swiglu: expected one floating-point dtype"],
    [
      () =>
        d.rotaryEmbedding(d.reshape(i32(1, 2), [1, 1, 1, 2]), { cosine: z(1, 2), sine: z(1, 2) }),
      DTypeError,
      "rotaryEmbedding: expected one floating-point dtype",
    ],
    [
      () => d.rotaryEmbedding(z(1, 1, 1, 2), { cosine: angles(), sine: angles() }),
      DTypeError,
      "rotaryEmbedding: expected one floating-point dtype",
    ],
    [
      () => d.selfAttention(z(1, 1, 6), 1, { rotary: { cosine: angles(), sine: angles() } }),
      DTypeError,
      "selfAttention: expected one floating-point dtype",
    ],
    [
      () => d.dropout(i32(1, 2), 0.5, { generator: generator() }),
      DTypeError,
      "dropout: expected one",
    ],
    [
      () => d.matmul(d.reshape(i32(1), [1, 1]), z(1, 1)),
      DTypeError,
      "matmul: expected one floating-point dtype",
    ],
    [
      () => d.linear(d.reshape(u8(1), [1, 1]), z(1, 1)),
      DTypeError,
      "linear: expected one floating-point dtype",
    ],
    [
      () => d.conv2d(d.reshape(i32(1), [1, 1, 1, 1]), z(1, 1, 1, 1)),
      DTypeError,
      "conv2d: expected one",
    ],
    [
      () => d.attention(z(1, 1, 1, 4), half(1, 1, 1, 4), z(1, 1, 1, 4)),
      DTypeError,
      "attention: expected one",
    ],
    [
      () => d.concat([z(2), half(2)]),
      DTypeError,
      "concat: expected one dtype but got f32 and f16; cast first",
    ],
    [
      () => d.embedding(z(3, 2), f(1)),
      DTypeError,
      "embedding: expected indices of i32 or u32 but got f32",
    ],
    [
      () => d.embedding(z(3, 2), u8(1)),
      DTypeError,
      "embedding: expected indices of i32 or u32 but got u8",
    ],
    [
      () => d.embedding(d.reshape(i32(1, 2), [2, 1]), i32(1)),
      DTypeError,
      "embedding: expected one floating",
    ],
    [() => new d.Parameter(i32(1)), DTypeError, "Parameter: expected one floating-point dtype"],
  ],
  "numbers that a type cannot hold": [
    [
      () => d.add(i32(1), 0.5),
      DTypeError,
      "add: expected a whole number that fits i32 but got 0.5; cast the tensor first",
    ],
    [() => d.sub(u32(1), -1), DTypeError, "sub: expected a whole number that fits u32 but got -1"],
    [
      () => d.mul(i32(1), NaN),
      DTypeError,
      "mul: expected a whole number that fits i32 but got NaN",
    ],
    [() => d.maximum(i32(1), Infinity), DTypeError, "maximum: expected a whole number"],
    [() => d.lt(i32(1), 0.5), DTypeError, "lt: expected a whole number that fits i32 but got 0.5"],
    [() => d.eq(u8(1), -1), DTypeError, "eq: expected a whole number that fits u32 but got -1"],
    [() => d.clamp(i32(1), 0.5), DTypeError, "clamp: expected a whole number that fits i32"],
    [
      () => d.where(u8(1), i32(1), 2 ** 31),
      DTypeError,
      "where: expected a whole number that fits i32",
    ],
    [
      () => d.pad(u8(1), [[1, 0]], 256),
      DTypeError,
      "pad: expected a whole number that fits u8 but got 256",
    ],
    [
      () => d.full([2], -1, { dtype: "u8" }),
      DTypeError,
      "full: expected a whole number that fits u8",
    ],
    [
      () => d.tensor([1.5], [1], { dtype: "i32" }),
      DTypeError,
      "tensor: expected whole numbers that fit i32",
    ],
  ],
});

eachDevice("bad input: every op takes integers and bytes, or refuses them by name", () => {
  for (const [name, { samples }] of d.ops()) {
    for (const dtype of ["i32", "u8"] as const) {
      using _ = d.scope();
      const inputs = samples[0]!.inputs.map(({ shape }) => d.ones(shape, { dtype }));
      try {
        samples[0]!.call(inputs);
      } catch (error) {
        assert(error instanceof DTypeError, `${name} of ${dtype}: ${error}`);
        assert(/^\w+: expected .* but got .*/.test(error.message), `${name}: ${error.message}`);
      }
    }
  }
});

/** Biases may be left out. */
const isOptional = (op: string, operand: number): boolean =>
  (op === "linear" || op === "conv2d") && operand === 2;

Deno.test("bad input: every op refuses an operand that is no tensor, by name and number", async () => {
  await d.init({ device: "reference" });
  for (const [name, { samples }] of d.ops()) {
    using _ = d.scope();
    const { inputs, call } = samples[0]!;
    for (const given of [undefined, [1], "1", 1n]) {
      for (let i = 0; i < inputs.length; i++) {
        const operands = inputs.map(({ shape, dtype = "f32" }) => d.ones(shape, { dtype }));
        operands[i] = wrong(given);
        if (given === undefined && isOptional(name, i)) continue;
        const { message } = assertThrows(() => call(operands), TypeError, "expected a tensor");
        assertMatch(message, new RegExp(`^\\w+: .* as operand ${i} but got .`), name);
      }
    }
  }
});
