import { assert, assertEquals } from "@std/assert";
import { ACTIVATIONS, erf, roundHalfEven, siluDerivative } from "./math.ts";

Deno.test("erf() has fifteen digits", () => {
  // Abramowitz and Stegun, table 7.1, and mpmath's erf() at 20 digits.
  const known: [number, number][] = [
    [0, 0],
    [1e-5, 1.1283791670578999e-5],
    [0.1, 0.1124629160182849],
    [0.5, 0.5204998778130465],
    [1, 0.8427007929497149],
    [1.5, 0.9661051464753108],
    [2, 0.9953222650189527],
    [3, 0.9999779095030014],
    [4, 0.9999999845827421],
    [7, 1],
    [Infinity, 1],
  ];
  for (const [x, want] of known) {
    assert(Math.abs(erf(x) - want) <= 2e-15 * Math.abs(want), `erf(${x}) is ${erf(x)}`);
    assertEquals(erf(-x), -erf(x));
  }
  assertEquals(erf(NaN), NaN);
});

Deno.test("erf() has no step where the series hands over to the continued fraction", () => {
  const slope = (erf(3 + 1e-6) - erf(3 - 1e-6)) / 2e-6;
  const want = 2 / Math.sqrt(Math.PI) * Math.exp(-9);
  assert(Math.abs(slope - want) < 1e-9);
});

Deno.test("roundHalfEven() takes halves to the even neighbour", () => {
  assertEquals([0.5, 1.5, 2.5, -0.5, -1.5, 2.4, 2.6, -7].map(roundHalfEven), [
    0,
    2,
    2,
    -0,
    -2,
    2,
    3,
    -7,
  ]);
});

Deno.test("the two forms of GELU agree to three digits", () => {
  for (let x = -5; x <= 5; x += 0.25) {
    assert(Math.abs(ACTIVATIONS.gelu(x) - ACTIVATIONS.geluTanh(x)) < 1e-3);
  }
});

Deno.test("siluDerivative() is the slope of SiLU", () => {
  for (const x of [-3, -0.5, 0, 1, 4]) {
    const slope = (ACTIVATIONS.silu(x + 1e-6) - ACTIVATIONS.silu(x - 1e-6)) / 2e-6;
    assert(Math.abs(slope - siluDerivative(x)) < 1e-9);
  }
});
