import { assert, assertEquals } from "@std/assert";
import { fromBits, labelOf, planUnits, toBits } from "./work.ts";

/** Which samples are there, of `count`. */
const there = (count: number, numbers: number[]) =>
  Array.from({ length: count }, (_, i) => numbers.includes(i));

Deno.test("missing samples are divided among ranks in batches of any size, each once", () => {
  const isThere = there(20, [0, 3, 4, 19]);
  for (const ranks of [1, 2, 3, 30]) {
    for (const batch of [1, 3, 100]) {
      const units = planUnits(isThere, { batch, group: null, ranks });
      assertEquals(
        units.flatMap(({ numbers }) => [...numbers]),
        [1, 2, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18],
      );
      assert(units.every(({ numbers }) => numbers.length <= batch));
      assert(units.length >= Math.min(ranks, 16), "expected work for every rank");
    }
  }
  assertEquals(planUnits(there(3, [0, 1, 2]), { batch: 2, group: null, ranks: 2 }), []);
});

Deno.test("groups are computed whole, whatever is missing of them and beyond the last sample", () => {
  const units = planUnits(there(10, [0, 1, 2, 3, 5]), { batch: 1, group: 4, ranks: 2 });
  assertEquals(units, [
    { numbers: [4, 5, 6, 7], missing: [4, 6, 7] },
    { numbers: [8, 9, 10, 11], missing: [8, 9] },
  ]);
});

Deno.test("classes are drawn by the sample's number, or come by turns", () => {
  const kind = { seed: 3, numClasses: 5, balanced: false };
  const labels = Array.from({ length: 5000 }, (_, i) => labelOf(i, kind));
  for (let c = 0; c < 5; c++) {
    const share = labels.filter((label) => label === c).length;
    assert(Math.abs(share - 1000) < 5 * Math.sqrt(800), `class ${c} has ${share}`); // five deviations
  }
  assertEquals(labelOf(4321, kind), labels[4321]);
  assert(labels.some((label, i) => label !== labelOf(i, { ...kind, seed: 4 })));
  const balanced = Array.from({ length: 10 }, (_, i) => labelOf(i, { ...kind, balanced: true }));
  assertEquals(balanced, [0, 1, 2, 3, 4, 0, 1, 2, 3, 4]);
});

Deno.test("flags become bits and flags again", () => {
  for (const count of [1, 8, 13]) {
    const flags = Array.from({ length: count }, (_, i) => i % 3 === 1);
    assertEquals(fromBits(toBits(flags), count), flags);
  }
});
