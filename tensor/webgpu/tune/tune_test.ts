import { assert, assertEquals } from "@std/assert";
import { CountingGpu } from "../counting_gpu_test_util.ts";
import { createWebGpuBackend } from "../backend.ts";
import { gpuTest } from "../device/device_test_util.ts";
import { USUAL_TRAITS } from "../device/traits.ts";
import {
  estimateProduct,
  PLAIN_CODE,
  type Plan,
  productClass,
  TILES,
} from "../kernels/product_plan.ts";
import type { ProductSize } from "../kernels/size_class.ts";
import { readPlans, tileFits, usualPlans } from "../plans.ts";
import {
  KINDS,
  kindsOf,
  LinearArrays,
  LinearGradients,
  LinearProduct,
  planText,
  productCandidates,
} from "./products.ts";
import { matrixTile } from "../kernels/matrix_plan.ts";
import { ATTENTION_KERNELS, AttentionArrays } from "./attention.ts";
import { tuneKernels, type TuneModel } from "./tune.ts";

const SMALL: TuneModel = {
  name: "small",
  dtype: "f32",
  batch: 2,
  tokens: 64,
  width: 64,
  heads: 2,
};

/** A clock whose seconds pass with every measurement; all variants take as long. */
function slowClock() {
  let seconds = 100;
  return {
    seconds: () => seconds,
    time(launches: readonly unknown[]) {
      seconds += 10;
      return Promise.resolve(launches.map(() => 1));
    },
  };
}

Deno.test("tuning ends when its time is over, and says what it left out", async () => {
  const backend = await createWebGpuBackend({}, new CountingGpu());
  // Two blocks of four layers: of those of one width the shapes are as many classes.
  const models = [SMALL, { ...SMALL, batch: 2 }, { ...SMALL, width: 128 }];
  const all = await tuneKernels(backend, { models, seconds: Infinity }, slowClock());
  assertEquals(all.skipped, 0);
  const classes = (rows: typeof all.rows) =>
    new Set(rows.map(({ kernel, shape }) => kernel + shape));
  // Of one layer, the gradient of the input is split.
  assertEquals(classes(all.rows).size, 2 * (14 + 4 + 4) - 1);
  // The first measurement is of the cores.
  const cut = await tuneKernels(backend, { models, seconds: 45 }, slowClock());
  assertEquals(classes(cut.rows).size, 4);
  assertEquals(cut.skipped, 2 * (14 + 4 + 4) - 4);
  await backend.dispose();
});

Deno.test("gradients of a layer keep to a launch that they share where no time is left to measure it", async () => {
  const backend = await createWebGpuBackend({}, new CountingGpu());
  const { error } = LinearProduct.prototype;
  LinearProduct.prototype.error = () => Promise.resolve(0);
  try {
    let measured = 0;
    const usual = slowClock();
    const clock = {
      ...usual,
      // of the cores, of a layer's result, and of its input's gradient: by other workgroups
      time: async (launches: readonly unknown[]) => {
        const times = await usual.time(launches);
        if (++measured === 3) times[times.length - 1] = 0.5;
        return times;
      },
    };
    const ofInput = productClass(LinearProduct.sizeOf("g w", 128, "f32", [192, 64]));
    const { plans, rows, skipped } = await tuneKernels(
      backend,
      { models: [SMALL], seconds: 35 },
      clock,
    );
    assert(skipped > 0 && rows.every(({ kernel }) => kernel === "product"));
    const [chosen] = rows.filter(({ isChosen, isUsual }) => isChosen && !isUsual);
    assert(chosen!.shape.startsWith("g w"));
    assertEquals(plans.products[ofInput], undefined);
  } finally {
    LinearProduct.prototype.error = error;
    await backend.dispose();
  }
});

Deno.test("gradients of a layer get launches of their own where that is faster", async () => {
  const backend = await createWebGpuBackend({}, new CountingGpu());
  const { runtime } = backend;
  const launched = (run: () => void): number => {
    let count = 0;
    runtime.onDispatch = () => count++;
    run();
    runtime.onDispatch = null;
    return count;
  };
  using arrays = new LinearArrays(backend, { tokens: 512, dtype: "f32", layers: [[256, 256]] });
  const plan = { ...estimateProduct({ batches: 1, m: 512, n: 256, k: 256 }, runtime.traits) };
  const grads = new LinearGradients(arrays, [256, 256], () => ({ ...plan, splits: 1 }));
  assert(grads.mayShare);
  const variants = grads.variants();
  assertEquals(variants.map(({ name }) => name), ["one launch", "two launches"]);
  assertEquals(variants.map(({ launch }) => launched(() => launch("test"))), [1, 2]);
  const ofWeights = productClass(LinearProduct.sizeOf("gT x", 512, "f32", [256, 256]));
  const products = { [ofWeights]: { ...plan, splits: 1, alone: true } };
  assertEquals(variants.map(({ plan }) => plan), [{}, products]);
  // as plans are kept
  const kept = { ...usualPlans(runtime.traits), products };
  assertEquals(readPlans(JSON.parse(JSON.stringify(kept))), kept);
  const heads = { dtype: "f32", batch: 1, heads: 2, tokens: 64, depth: 64 } as const;
  using attended = new AttentionArrays(backend, heads);
  const isShared = attended.sharing(attended.usual).map(({ launch }) => {
    let shared = false;
    runtime.onDispatch = ({ key }) => shared ||= key.includes("+");
    launch("test");
    runtime.onDispatch = null;
    return shared;
  });
  assertEquals(isShared, [true, false]);
  const apart = { [attended.shapeClass]: { ...attended.usual, apart: true } };
  assertEquals(readPlans({ ...kept, attention: apart }).attention, apart);
  const other = (size: ProductSize): Plan => ({
    ...plan,
    tile: size.k === 512 ? "small" : "large",
  });
  const differ = new LinearGradients(arrays, [256, 256], other);
  assert(!differ.mayShare);
  assertEquals(differ.variants(), []);
  // Plans that are the fastest each for itself are held to the estimated ones, which share a launch.
  const held = differ.variants(grads);
  assertEquals(held.map(({ launch }) => launched(() => launch("test"))), [1, 2]);
  const ofInput = productClass(LinearProduct.sizeOf("g w", 512, "f32", [256, 256]));
  assertEquals(held.map(({ plan }) => plan), [{ [ofInput]: null, [ofWeights]: null }, {}]);
  // No choice is measured where there is none: of a split product, of wide heads, on small GPUs.
  const split = new LinearGradients(arrays, [256, 256], () => ({ ...plan, splits: 2 }));
  assert(!split.mayShare);
  using wide = new AttentionArrays(backend, { ...heads, depth: 96 });
  assertEquals(wide.sharing(wide.usual), []);
  await backend.dispose();
});

Deno.test("a GPU that computes something else gets the built-in plans", async () => {
  const backend = await createWebGpuBackend({}, new CountingGpu());
  const { plans, rows } = await tuneKernels(
    backend,
    { models: [SMALL], seconds: 1e9, most: { shapes: 1, variants: 3 } },
    slowClock(),
  );
  assertEquals(plans, usualPlans(backend.runtime.traits));
  assertEquals(plans.traits.cores, USUAL_TRAITS.cores);
  const products = rows.filter(({ kernel }) => kernel === "product");
  assertEquals(products.length, 3);
  assert(products.every(({ milliseconds }) => Number.isNaN(milliseconds)));
  await backend.dispose();
});

Deno.test("candidates begin with the estimate, differ, and fit the GPU", () => {
  const small = { maxComputeWorkgroupStorageSize: 16384, maxComputeInvocationsPerWorkgroup: 256 };
  const large = { ...small, maxComputeWorkgroupStorageSize: 49152 };
  for (const traits of [USUAL_TRAITS, { ...USUAL_TRAITS, cores: 132 }]) {
    for (const [m, n, k] of [[8192, 1152, 384], [384, 1152, 8192], [8, 2304, 384]] as const) {
      const size = { batches: 1, m, n, k };
      for (const limits of [small, large]) {
        const all = productCandidates(size, { traits, limits: limits as GPUSupportedLimits });
        assertEquals(all[0], estimateProduct(size, traits));
        assertEquals(new Set(all.map(planText)).size, all.length);
        for (const { tile, splits } of all) {
          assert(tileFits(tile, limits) && splits >= 1 && splits <= Math.max(1, k / 256));
        }
        assertEquals(all.some(({ tile }) => tile === "huge"), limits === large);
      }
    }
  }
  assert(Object.keys(TILES).length > 6);
});

Deno.test("where there are matrix units, they are what ordinary kernels have to be faster than", async () => {
  const backend = await createWebGpuBackend({}, new CountingGpu());
  const unit = { m: 16, n: 16, k: 16, subgroup: 32 };
  const { runtime } = backend;
  runtime.matrices = matrixTile(unit, runtime.limits, runtime.traits);
  runtime.attentionMatrices = unit;
  const arrays = new LinearArrays(backend, { tokens: 256, dtype: "f16", layers: [[256, 256]] });
  const product = new LinearProduct(arrays, "x wT", 256, 256);
  const heads = { dtype: "f16", batch: 1, heads: 2, tokens: 64, depth: 64 } as const;
  const attended = new AttentionArrays(backend, heads);
  assert(product.isOnMatrices);
  assertEquals(planText(null), "matrix units");
  const launched = (run: () => void): string[] => {
    const keys: string[] = [];
    runtime.onDispatch = ({ key }) => keys.push(key);
    run();
    runtime.onDispatch = null;
    return keys.filter((key) => !key.includes("delta")).map((key) =>
      `${key.split("/")[0]}${key.includes("/matrices/") ? " on matrices" : ""}`
    );
  };
  assertEquals(launched(() => product.run(null, "test")), ["product on matrices"]);
  const [plan] = productCandidates(product.size, runtime);
  assertEquals(launched(() => product.run(plan!, "test"))[0], "product");
  const name = productClass(product.size);
  // Other tilings of the matrices are variants as well.
  const candidates = product.candidates(runtime.traits);
  assertEquals(candidates[0], null);
  assert(candidates[1]!.overMatrices);
  const tiled = candidates.filter((each) => each?.onMatrices !== undefined);
  assert(tiled.length >= 2);
  assertEquals(new Set(candidates.map(planText)).size, candidates.length);
  const keys = new Set<string>();
  runtime.onDispatch = ({ key }) => keys.add(key);
  for (const each of [null, ...tiled]) product.run(each, "test");
  runtime.onDispatch = null;
  const ofTiles = [...keys].filter((key) => key.startsWith("product/matrices/"));
  assertEquals(ofTiles.length, 1 + tiled.length, ofTiles.join());
  for (const kernel of ATTENTION_KERNELS) {
    const [usual, other] = attended.variants(kernel);
    assertEquals(usual!.name, "matrix units");
    assert(other!.plan.overMatrices);
    const isOn = launched(() => other!.launch("test")).map((key) => key.endsWith("matrices"));
    assertEquals(isOn, kernel === "forward" ? [false] : [kernel === "keys", kernel === "queries"]);
    assert(launched(() => usual!.launch("test")).every((key) => key.endsWith("matrices")));
  }
  // What was measured is taken from then on.
  runtime.plans = {
    ...runtime.plans,
    products: { [name]: { ...plan!, overMatrices: true } },
  };
  assertEquals(launched(() => product.run(null, "test"))[0], "product");
  runtime.plans = { ...runtime.plans, products: { [name]: plan! } };
  assertEquals(launched(() => product.run(null, "test")), ["product on matrices"]);
  const [{ onMatrices }] = tiled as [Plan];
  runtime.plans = { ...runtime.plans, products: { [name]: tiled[0]! } };
  assertEquals(readPlans(JSON.parse(JSON.stringify(runtime.plans))), runtime.plans);
  let key = "";
  runtime.onDispatch = (d) => key ||= d.key;
  product.run(null, "test");
  const { matrices, depth } = onMatrices!;
  assert(key.startsWith(`product/matrices/${matrices}x${depth}/`), key);
  // Those of another GPU, which this one has no room for, are none.
  const large = { ...tiled[0]!, onMatrices: { matrices: 16, depth: 1024, splits: 1 } };
  runtime.plans = { ...runtime.plans, products: { [name]: large } };
  key = "";
  product.run(null, "test");
  runtime.onDispatch = null;
  const usual = runtime.matrices!;
  assert(key.startsWith(`product/matrices/${usual.matrices}x${usual.depth}/`), key);
  arrays[Symbol.dispose]();
  attended[Symbol.dispose]();
  await backend.dispose();
});

Deno.test("a GPU that was measured before is measured as if it had not been", async () => {
  const backend = await createWebGpuBackend({}, new CountingGpu());
  const { runtime } = backend;
  const unit = { m: 16, n: 16, k: 16, subgroup: 32 };
  runtime.matrices = matrixTile(unit, runtime.limits, runtime.traits);
  const model = { ...SMALL, dtype: "f16", tokens: 128, width: 256 } as const;
  const size = LinearProduct.sizeOf("x wT", model.batch * model.tokens, "f16", [768, 256]);
  const [plan] = productCandidates(size, runtime);
  const products = { [productClass(size)]: { ...plan!, overMatrices: true } };
  const traits = { ...runtime.traits, cores: 7 };
  const kept = runtime.plans = { ...runtime.plans, traits, products };
  const keys: string[] = [];
  runtime.onDispatch = ({ key }) => key.startsWith("product/") && keys.push(key);
  // of all variants, what is usual there: matrix units
  const most = { shapes: 1, variants: 1 };
  const options = { models: [model], seconds: Infinity, most };
  const { plans } = await tuneKernels(backend, options, slowClock());
  runtime.onDispatch = null;
  assert(keys.length > 0 && keys.every((key) => key.startsWith("product/matrices/")), keys.join());
  assertEquals(plans.traits, runtime.usualPlans.traits);
  assertEquals(runtime.plans, kept);
  await backend.dispose();
});

gpuTest("a product of a layer that is measured is held to float64", async (backend) => {
  const layers = { tokens: 70, dtype: "f32", layers: [[36, 20]] } as const;
  using arrays = new LinearArrays(backend, layers);
  const small: Plan = { tile: "small", splits: 1, code: PLAIN_CODE };
  const grads = new LinearGradients(arrays, [36, 20], () => small);
  for (const { isRight } of grads.variants()) assert(await isRight());
  const product = new LinearProduct(arrays, "gT x", 36, 20);
  const [plan] = productCandidates(product.size, backend.runtime);
  assert(product.isRight(await product.error(plan!)));
  assertEquals(kindsOf("f32", [36, 20]), KINDS);
  assertEquals(kindsOf("f16", [20, 36]), KINDS);
  const through = new LinearProduct(arrays, "gT f(x)", 36, 20);
  assert(productClass(through.size) !== productClass(product.size));
  assert(through.isRight(await through.error(plan!)));
  // Operands that the host takes for others.
  const other = new LinearProduct(arrays, "x wT", 36, 20);
  product.run = () => other.run(plan!, "test");
  assert(!product.isRight(await product.error(plan!)));
});
