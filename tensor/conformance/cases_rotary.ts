import { type ConformanceCase, conformanceCase, normal, window } from "./fixture.ts";

/** Pairs turned by the angle of their token. */
export function rotaryCases(): ConformanceCase[] {
  const cases: ConformanceCase[] = [];
  for (const inverse of [false, true]) {
    for (
      const [B, T, H, D] of [[1, 1, 1, 2], [2, 5, 3, 22], [3, 64, 2, 64], [1, 7, 6, 72]] as const
    ) {
      const name = `[${B}, ${T}, ${H}, ${D}]${inverse ? ", inverse" : ""}`;
      cases.push(conformanceCase("rotary", name, { cost: B * T * H * D }, (f) => ({
        x: f.input([B, T, H, D]),
        cosine: f.input([T, D]),
        sine: f.input([T, D]),
        inverse,
        out: f.output("out", [B, T, H, D]),
      })));
    }
  }
  for (const half of [false, true]) {
    const dtype = half ? "f16" : "f32";
    const options = { half, lead: 3, ...(half ? { tolerance: { scaled: 1e-3 } } : {}) };
    cases.push(conformanceCase("rotary", `queries among others, ${dtype}`, options, (f) => ({
      // a third of what one linear layer makes
      x: f.input([2, 9, 3, 16], normal(), dtype, window([2, 9, 9, 16], [0, 0, 3, 0])),
      cosine: f.input([9, 16], normal(), dtype),
      sine: f.input([9, 16], normal(), dtype),
      inverse: false,
      out: f.output("out", [2, 9, 3, 16], dtype),
    })));
    cases.push(conformanceCase("rotary", `gradients among others, ${dtype}`, options, (f) => ({
      x: f.input([2, 9, 6, 16], normal(), dtype),
      cosine: f.input([9, 16], normal(), dtype),
      sine: f.input([9, 16], normal(), dtype),
      inverse: true,
      // two thirds of what one linear layer made
      out: f.output("out", [2, 9, 6, 16], dtype, window([2, 9, 9, 16], [0, 0, 0, 0])),
    })));
  }
  return cases;
}
