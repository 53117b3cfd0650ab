import {
  type ConformanceCase,
  conformanceCase,
  cycle,
  EXACT,
  normal,
  whole,
  window,
} from "./fixture.ts";

/** Row lookups and their gradient. */
export function gatherCases(): ConformanceCase[] {
  const cases: ConformanceCase[] = [];
  for (const type of ["i32", "u32"] as const) {
    for (
      const [V, D, L] of [[1, 1, 1], [7, 9, 5], [5, 3, 64], [11, 384, 4], [1001, 33, 130], [
        3,
        1,
        20011,
      ]] as const
    ) {
      const name = `${L} rows of [${V}, ${D}] by ${type}`;
      const cost = (L + V) * D;
      cases.push(
        conformanceCase("gather", name, { cost, tolerance: EXACT }, (f) => ({
          table: f.input([V, D]),
          index: f.input([L], whole(0, V), type),
          out: f.output("out", [L, D]),
        })),
        conformanceCase("scatterAdd", name, { cost }, (f) => ({
          g: f.input([L, D]),
          index: f.input([L], whole(0, V), type),
          out: f.output("out", [V, D]),
        })),
      );
    }
  }
  cases.push(
    conformanceCase("gather", "from rows with gaps, odd offsets", {
      tolerance: EXACT,
      lead: 3,
    }, (f) => ({
      table: f.input([6, 10], normal(), "f32", window([6, 13], [0, 2])),
      index: f.input([9], cycle([5, 0, 0, 3]), "i32"),
      out: f.output("out", [9, 10]),
    })),
    conformanceCase("gather", "f16 rows", { tolerance: EXACT, half: true }, (f) => ({
      table: f.input([6, 11], normal(), "f16"),
      index: f.input([9], cycle([5, 0, 0, 3]), "i32"),
      out: f.output("out", [9, 11], "f16"),
    })),
    conformanceCase("scatterAdd", "f16 rows", { tolerance: { scaled: 1e-3 }, half: true }, (f) => ({
      g: f.input([9, 11], normal(), "f16"),
      index: f.input([9], cycle([5, 0, 0, 3]), "i32"),
      out: f.output("out", [6, 11], "f16"),
    })),
    conformanceCase("scatterAdd", "every row to one", {}, (f) => ({
      g: f.input([300, 17]),
      index: f.input([300], cycle([2]), "i32"),
      out: f.output("out", [4, 17]),
    })),
    conformanceCase("scatterAdd", "rows that nothing reaches, odd offsets", { lead: 3 }, (f) => ({
      g: f.input([3, 10]),
      index: f.input([3], cycle([4, 1, 4]), "i32"),
      out: f.output("out", [6, 10]),
    })),
  );
  return cases;
}
