import { assert, assertEquals } from "@std/assert";
import type { Backend } from "../../backend.ts";
import { runConformance } from "../../conformance/suite.ts";
import { conformanceCase, normal, permuted } from "../../conformance/fixture.ts";
import type { WebGpuBackend } from "../backend.ts";
import { gpuTest } from "../device/device_test_util.ts";
import { matmul } from "./matmul.ts";
import { type Plan, planProduct, type TileName, TILES } from "./product.ts";
import { pitchOf, threadsOf } from "../shader/tile.ts";

Deno.test("every tile keeps within WebGPU's default limits", () => {
  for (const tile of Object.values(TILES)) {
    const vectors = tile.depth * (pitchOf(tile.rows) + pitchOf(tile.columns));
    assert(vectors * 16 <= 16384);
    assert(threadsOf(tile).all <= 256);
  }
});

Deno.test("planProduct() takes large tiles for large products, and whole depths", () => {
  // The layers of DiT-S/2 on 32 images of 32 x 32 latents.
  assertEquals(planProduct(1, 8192, 1152, 384), { tile: "large", splits: 1 });
  assertEquals(planProduct(1, 8192, 1536, 384), { tile: "large", splits: 1 });
});

Deno.test("planProduct() splits the depth of a weight gradient with few tiles", () => {
  const { tile, splits } = planProduct(1, 384, 1152, 8192);
  assertEquals(tile, "large");
  assert(splits > 1 && splits <= 32);
});

Deno.test("planProduct() does not split what is shallow", () => {
  assertEquals(planProduct(1, 40, 40, 300).splits, 1);
});

Deno.test("planProduct() fits few rows and few columns", () => {
  assertEquals(planProduct(1, 8, 2304, 384).tile, "wide");
  assertEquals(planProduct(1, 8192, 16, 384).tile, "tall");
  assertEquals(planProduct(1, 8192, 32, 384).tile, "small");
});

/** The device with one plan for all matrix products. */
function withPlan(b: WebGpuBackend, plan: Plan): Backend {
  return {
    name: b.name,
    description: b.description,
    halfKernels: b.halfKernels,
    alloc: (bytes, op) => b.alloc(bytes, op),
    free: (buffer) => b.free(buffer),
    write: (buffer, offset, data) => b.write(buffer, offset, data),
    read: (buffer, dtype, offset, length) => b.read(buffer, dtype, offset, length),
    run: (kernel, args, op) =>
      kernel === "matmul"
        ? matmul(b.runtime, args as Parameters<typeof matmul>[1], op, { plan })
        : b.run(kernel, args, op),
    checkIndices: (index, limit, op) => b.checkIndices(index, limit, op),
    ready: () => b.ready(),
    flush: () => b.flush(),
    sync: () => b.sync(),
    memory: () => b.memory(),
    dispose: () => b.dispose(),
  };
}

/** Three tiles of every kind down and across, none of them whole. */
const shape = { m: 270, n: 132, k: 84 };
const product = conformanceCase("matmul", "270x84 . 84x132 in batches", {}, (f) => ({
  a: f.input([1, 2, shape.m, shape.k], normal()),
  b: f.input([1, 2, shape.k, shape.n], normal(), "f32", permuted([1, 2, 84, 132], [0, 1, 3, 2])),
  bias: f.input([shape.n]),
  activation: "silu",
  pre: f.output("pre", [1, 2, shape.m, shape.n]),
  out: f.output("out", [1, 2, shape.m, shape.n]),
  accumulate: false,
}));

for (const tile of Object.keys(TILES) as TileName[]) {
  gpuTest(
    `a product by ${tile} tiles is right`,
    (b) => runConformance(withPlan(b, { tile, splits: 1 }), product),
  );
}

gpuTest(
  "a product split in three is right, epilogue and batches included",
  (b) => runConformance(withPlan(b, { tile: "medium", splits: 3 }), product),
);

gpuTest("a split product of odd width adds to what is there", (b) =>
  runConformance(
    withPlan(b, { tile: "small", splits: 4 }),
    conformanceCase("matmul", "17x100 . 100x33 accumulating", {}, (f) => ({
      a: f.input([1, 1, 17, 100]),
      b: f.input([1, 1, 100, 33]),
      bias: null,
      activation: "none",
      pre: null,
      out: f.changed("out", [1, 1, 17, 33], normal()),
      accumulate: true,
    })),
  ));
