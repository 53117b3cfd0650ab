/**
 * Upper bounds of what training steps ask of a GPU, at full size. They are what was counted last:
 * a change that lowers a count lowers its bound here, and none may raise one but where measurements
 * on a card speak for it.
 */
import { assert, assertEquals } from "@std/assert";
import type { View } from "../tensor/view.ts";
import { type Census, census, CENSUS_JOBS, familyOf, touchedBytesOf } from "./census.ts";
import { titleOf } from "./gpu/jobs.ts";
import { samplingCensus } from "./census/sampling.ts";

type Bounds = Omit<Census, "hostMilliseconds" | "kernels" | "flops">;

const BOUNDS: Readonly<Record<keyof typeof CENSUS_JOBS, Bounds>> = {
  mini: {
    dispatches: 168,
    submits: 1,
    bindGroups: 0,
    pipelines: 0,
    copies: 2,
    writes: 6,
    writtenBytes: 282_560,
    touchedBytes: 796_872_880,
    peakBytes: 158_124_080,
    reservedBytes: 181_497_600,
  },
  small: {
    dispatches: 420,
    submits: 2,
    bindGroups: 0,
    pipelines: 0,
    copies: 11,
    writes: 8,
    writtenBytes: 576_064,
    touchedBytes: 13_847_421_196,
    peakBytes: 2_858_969_776,
    reservedBytes: 3_117_506_304,
  },
  large: {
    dispatches: 1_241,
    submits: 36,
    bindGroups: 0,
    pipelines: 0,
    copies: 8,
    writes: 46,
    writtenBytes: 672_832,
    touchedBytes: 108_622_419_120,
    peakBytes: 16_324_367_668,
    reservedBytes: 19_615_149_312,
  },
};

for (const [name, job] of Object.entries(CENSUS_JOBS)) {
  Deno.test(`a step of ${titleOf(job)} asks a GPU for no more than it did`, async () => {
    const found = await census(job, 0);
    const bounds = BOUNDS[name as keyof typeof CENSUS_JOBS];
    const more = Object.entries(bounds).flatMap(([what, bound]) => {
      const count = found[what as keyof Bounds];
      return count > bound ? [`${what}: expected at most ${bound} but got ${count}`] : [];
    });
    assertEquals(more, []);
  });
}

Deno.test("a step that is replayed asks a GPU for what one that is not does", async () => {
  const job = CENSUS_JOBS.mini;
  const [made, replayed] = [await census(job, 0), await census(job, 0, true)];
  const kinds = ["dispatches", "submits", "pipelines", "writes", "writtenBytes", "flops"] as const;
  for (const kind of kinds) assertEquals(replayed[kind], made[kind], kind);
  assertEquals(replayed.kernels, made.kernels);
  assert(replayed.bindGroups <= made.bindGroups, `${replayed.bindGroups} new bind groups`);
  // what is replayed lies apart from the rest, in blocks that only it has
  assert(replayed.reservedBytes < 1.01 * made.reservedBytes, `${replayed.reservedBytes} bytes`);
});

Deno.test("a replayed step in half precision uses the f16 copies that AdamW writes", async () => {
  const job = { ...CENSUS_JOBS.small, precision: "fp16" } as const;
  const [made, replayed] = [await census(job, 0), await census(job, 0, true)];
  assertEquals(replayed.dispatches, made.dispatches);
  assertEquals(replayed.kernels, made.kernels);
});

for (const job of [CENSUS_JOBS.small, CENSUS_JOBS.large]) {
  Deno.test(`nearly all of ${job.model} in half precision runs on matrix units`, async () => {
    const unit = { m: 16, n: 16, k: 16, subgroup: 32 };
    const { kernels, flops } = await census({ ...job, precision: "fp16" }, 0, false, unit);
    const onMatrices = kernels.reduce(
      (sum, row) => row.kernel.endsWith("/matrices") ? sum + row.flops : sum,
      0,
    );
    assert(onMatrices > 0.995 * flops, `${onMatrices / flops}`);
    const attention = kernels.filter(({ kernel, flops }) =>
      kernel.startsWith("attention") && flops > 0
    );
    assertEquals(attention.map(({ kernel }) => kernel).sort(), [
      "attention/matrices",
      "attentionGrad/matrices",
    ]);
  });
}

Deno.test("nearly all of a sampling step is replayed", async () => {
  const job = { model: "DiT-S/2", images: 2 };
  const [made, replayed] = [await samplingCensus(job, false), await samplingCensus(job, true)];
  assertEquals(replayed.dispatches, made.dispatches);
  assertEquals(made.replayed, 0);
  assert(replayed.replayed > 0.85 * replayed.dispatches, `${replayed.replayed} were replayed`);
});

Deno.test("a census counts what parts of a launch both read once, in whatever order they do", () => {
  const buffer = { bytes: 4096 };
  const view = (shape: readonly number[], strides: readonly number[], offset = 0): View => ({
    buffer,
    dtype: "f32",
    offset,
    shape,
    strides,
  });
  const read = (view: View) => ({ name: "x", view, access: "read" }) as const;
  const count = (...views: View[]): number => touchedBytesOf(views.map((view) => read(view)));
  const whole = view([8, 6], [6, 1]);
  assertEquals(count(whole), 4 * 48);
  assertEquals(count(whole, view([6, 8], [1, 6])), 4 * 48);
  assertEquals(count(whole, view([1, 8, 1, 6], [0, 6, 0, 1])), 4 * 48);
  assertEquals(count(whole, view([8, 6], [6, 1], 48)), 8 * 48);
  assertEquals(count(whole, view([8, 3], [6, 1])), 4 * (48 + 24));
  assertEquals(count(view([5, 8, 6], [0, 6, 1])), 4 * 48);
  const twice = { name: "y", view: whole, access: "readwrite" } as const;
  assertEquals(touchedBytesOf([read(whole), twice]), 3 * 4 * 48);
});

Deno.test("the kernels of a census add up to all of its launches", async () => {
  const { dispatches, kernels, touchedBytes, flops } = await census(CENSUS_JOBS.mini, 1);
  // What is cut into several launches counts once among the kernels; nothing of this size is cut.
  assertEquals(kernels.reduce((sum, row) => sum + row.dispatches, 0), dispatches);
  assertEquals(kernels.reduce((sum, row) => sum + row.touchedBytes, 0), touchedBytes);
  const { batch } = CENSUS_JOBS.mini;
  // Three products a weight and token, of two operations each: 0.9 M weights, 64 tokens.
  const least = 3 * 2 * 0.8e6 * 64 * batch;
  assert(flops > least && flops < 2 * least, `${flops} operations, ${least} at least`);
});

Deno.test("a kernel's family is its name without the variant", () => {
  assertEquals(familyOf("product/128x64 f32"), "product");
  assertEquals(familyOf("product/matrices/deep/deep/matmul"), "product/matrices");
  assertEquals(familyOf("attentionGrad/matrices/keys/72/32x4"), "attentionGrad/matrices");
  assertEquals(familyOf("indexCheck"), "indexCheck");
});
