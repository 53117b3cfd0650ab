import { assertEquals, assertThrows } from "@std/assert";
import { USUAL_TRAITS } from "./device/traits.ts";
import { usualAttention } from "./kernels/attention_plan.ts";
import { PLAIN_CODE } from "./kernels/product_plan.ts";
import { fittingPlans, type KernelPlans, readPlans, usualPlans } from "./plans.ts";

const PLANS: KernelPlans = {
  traits: { ...USUAL_TRAITS, cores: 7 },
  products: {
    "f32 deep.deep 128x64x32": { tile: "huge", splits: 3, code: PLAIN_CODE },
    "f32 across.deep 128x64x32": { tile: "tall", splits: 1, code: PLAIN_CODE },
    "f16 across.deep 128x64x32": {
      tile: "tall",
      splits: 1,
      code: PLAIN_CODE,
      overMatrices: true,
    },
  },
  attention: {
    "f32 64 256x256": usualAttention(USUAL_TRAITS),
    "f32 72 256x256": {
      ...usualAttention(USUAL_TRAITS),
      forward: { masked: true, unrolled: false, groups: 1, kept: true, overMatrices: true },
    },
  },
  rows: { 32: "subgroups" },
};

Deno.test("plans are the same when they are read from JSON", () => {
  for (const plans of [PLANS, usualPlans(USUAL_TRAITS)]) {
    assertEquals(readPlans(JSON.parse(JSON.stringify(plans))), plans);
  }
});

Deno.test("readPlans() names the field that is not as expected", () => {
  const bad: [change: object, message: string][] = [
    [{ traits: { cores: 0 } }, "traits.cores: expected a whole number from 1 to 65536 but got 0"],
    [{ products: [] }, "products: expected an object but got []"],
    [
      { products: { x: { tile: "toString", code: {} } } },
      "products.x.tile: expected one of large,",
    ],
    [
      { products: { x: { tile: "small", splits: 1.5, code: PLAIN_CODE } } },
      "products.x.splits: expected a whole number",
    ],
    [{ rows: { 8: true } }, 'rows.8: expected "subgroups" but got true'],
    [{ attention: { x: {} } }, "attention.x.forward: expected an object but got nothing"],
  ];
  for (const [change, message] of bad) {
    assertThrows(() => readPlans({ ...PLANS, ...change }), RangeError, message);
  }
  for (const value of [null, 3, [], "plans"]) assertThrows(() => readPlans(value), RangeError);
});

Deno.test("plans of tiles that a GPU has no room for are left out", () => {
  const limits = { maxComputeWorkgroupStorageSize: 16384, maxComputeInvocationsPerWorkgroup: 256 };
  const { fitting, unfit } = fittingPlans(PLANS, limits, true);
  assertEquals(unfit, ["f32 deep.deep 128x64x32"]);
  assertEquals(Object.keys(fitting.products), [
    "f32 across.deep 128x64x32",
    "f16 across.deep 128x64x32",
  ]);
  assertEquals(fitting.attention, PLANS.attention);
  const large = { ...limits, maxComputeWorkgroupStorageSize: 32768 };
  assertEquals(fittingPlans(PLANS, large, false), {
    fitting: { ...PLANS, rows: {} },
    unfit: ["rows of 32 lanes"],
  });
  assertEquals(fittingPlans(PLANS, large, true), { fitting: PLANS, unfit: [] });
});
