import { assert, assertEquals } from "@std/assert";
import { USUAL_TRAITS } from "../device/traits.ts";
import {
  estimateProduct,
  mayShare,
  PLAIN_CODE,
  planProduct,
  productClass,
  productLayout,
  TILES,
} from "./product_plan.ts";
import { sizeClass } from "./size_class.ts";

const LARGE_CARD = { ...USUAL_TRAITS, cores: 132 };
const LAPTOP = { ...USUAL_TRAITS, cores: 10 };

function plan(m: number, n: number, k: number, traits = USUAL_TRAITS) {
  return planProduct({ batches: 1, m, n, k }, { traits, products: {} });
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

Deno.test("planProduct() gives gradients of a layer workgroups of one size", () => {
  for (const cores of [10, 48, 60, 108, 132]) {
    const plans = { traits: { ...USUAL_TRAITS, cores }, products: {} };
    for (const width of [384, 1152]) {
      for (const [outputs, inputs] of [[3, 1], [1, 1], [4, 1], [1, 4]] as const) {
        const [m, n, k] = [outputs * width, inputs * width, 8192];
        const ofWeights = planProduct({ batches: 1, m, n, k, isOfWeights: true }, plans);
        const ofInput = planProduct({ batches: 1, m: k, n, k: m }, plans);
        assert(mayShare(ofWeights, ofInput), `${cores} cores, ${m} x ${n}`);
        assert(!mayShare(ofWeights, { ...ofInput, alone: true }));
      }
    }
  }
  // A small result is not given large workgroups for that, which would leave most of them idle.
  const size = { batches: 1, m: 384, n: 16, k: 8192 };
  const plans = { traits: USUAL_TRAITS, products: {} };
  assertEquals(
    planProduct({ ...size, isOfWeights: true }, plans).tile,
    planProduct(size, plans).tile,
  );
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

Deno.test("planProduct() takes what was measured for the class of a shape, and for no other", () => {
  const size = { batches: 1, m: 8192, n: 1152, k: 384 };
  const layout = productLayout(["f32", "f32"], ["deep", "deep"]);
  const measured = { tile: "medium", splits: 1, code: PLAIN_CODE } as const;
  const plans = {
    traits: USUAL_TRAITS,
    products: { [productClass({ ...size, layout })]: measured },
  };
  const usual = estimateProduct(size, USUAL_TRAITS);
  assertEquals(planProduct({ ...size, layout }, plans), measured);
  assertEquals(planProduct({ ...size, m: 8000, n: 1100, layout }, plans), measured);
  // Other sizes, operands in another order, products that are not measured, several of them.
  assertEquals(planProduct({ ...size, n: 1536, layout }, plans).tile, usual.tile);
  assertEquals(planProduct({ ...size, layout: "f32 across.deep" }, plans), usual);
  assertEquals(planProduct(size, plans), usual);
  assert(planProduct({ ...size, batches: 2, layout }, plans).tile !== "medium");
});

Deno.test("sizeClass() tells sizes apart by a third", () => {
  assertEquals([1, 2, 3, 4, 5, 6, 7, 8].map(sizeClass), [1, 2, 3, 4, 6, 6, 8, 8]);
  assertEquals([384, 768, 1152, 1536, 4608, 8192].map(sizeClass), [
    384,
    768,
    1024,
    1536,
    4096,
    8192,
  ]);
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
