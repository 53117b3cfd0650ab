import { assert, assertEquals } from "@std/assert";
import { USUAL_TRAITS } from "../device/traits.ts";
import { planProduct, TILES } from "./product_plan.ts";

const LARGE_CARD = { ...USUAL_TRAITS, cores: 132 };
const LAPTOP = { ...USUAL_TRAITS, cores: 10 };

function plan(m: number, n: number, k: number, traits = USUAL_TRAITS) {
  return planProduct({ batches: 1, m, n, k }, traits);
}

/** Workgroups of a plan on the core that has most to do, over what all cores have on average. */
function imbalance(m: number, n: number, k: number, cores: number): number {
  const { tile, splits } = plan(m, n, k, { ...USUAL_TRAITS, cores });
  const { rows, columns } = TILES[tile];
  const each = Math.ceil(m / rows) * Math.ceil(n / columns) * splits / cores;
  return Math.ceil(each) / each;
}

Deno.test("planProduct() takes whole depths of large products, and 8 x 8 a thread", () => {
  // The layers of DiT-S/2 on 32 images of 32 x 32 latents.
  for (const traits of [USUAL_TRAITS, LARGE_CARD, LAPTOP]) {
    for (const n of [384, 1152, 1536]) {
      const { tile, splits } = plan(8192, n, 384, traits);
      assert(tile === "large" || tile === "square");
      assertEquals(splits, 1);
    }
  }
});

Deno.test("planProduct() fills a card with the weight gradients of few tiles", () => {
  for (const [m, n] of [[384, 1152], [384, 384], [1536, 384], [384, 1536]] as const) {
    const { splits } = plan(m, n, 8192, LARGE_CARD);
    assert(splits > 1 && splits <= 32);
    for (const cores of [64, 128, 132]) assert(imbalance(m, n, 8192, cores) < 1.15);
  }
});

Deno.test("planProduct() splits less where fewer cores are to be filled", () => {
  const { splits } = plan(384, 1152, 8192, LAPTOP);
  assert(splits < plan(384, 1152, 8192, LARGE_CARD).splits);
  assertEquals(plan(4608, 1152, 8192, LAPTOP).splits, 1);
});

Deno.test("planProduct() does not split what is shallow", () => {
  assertEquals(plan(40, 40, 300).splits, 1);
});

Deno.test("planProduct() fits few rows and few columns", () => {
  assertEquals(plan(8, 2304, 384, LAPTOP).tile, "wide");
  assertEquals(plan(8192, 16, 384, LAPTOP).tile, "tall");
  assertEquals(plan(8192, 32, 384, LAPTOP).tile, "small");
});

Deno.test("planProduct() writes kernels out only where their driver repays it", () => {
  const plain = plan(8192, 1152, 384, {
    ...USUAL_TRAITS,
    writtenOut: false,
    readsAhead: false,
  });
  const full = plan(8192, 1152, 384);
  assertEquals({ ...plain, code: full.code }, full);
  assertEquals(Object.values(plain.code), [false, false, false]);
  assertEquals(Object.values(full.code), [true, true, true]);
});
