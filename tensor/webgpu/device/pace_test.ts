import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import type { View } from "../../view.ts";
import { conformanceCases, runConformance } from "../../conformance/suite.ts";
import type { Dispatch } from "./dispatch.ts";
import { gpuTest } from "./device_test_util.ts";
import { Pace } from "./pace.ts";

/** A GPU that takes `factor` times as long as estimated, and a host that waits for it. */
class FakeGpu {
  time = 0;
  readonly pace: Pace;
  #free = 0;

  constructor(readonly factor: number) {
    this.pace = new Pace(undefined, () => this.time);
  }

  /** Work takes the host no time to record, and the GPU begins when it has done what was before. */
  submit(work: number): void {
    this.pace.submit(work);
    this.#free = Math.max(this.#free, this.time) + work * this.factor * 1000;
  }

  /** Seconds of work that are submitted and not done. */
  get behind(): number {
    return Math.max(0, this.#free - this.time) / 1000;
  }

  wait(): void {
    const mark = this.pace.mark();
    this.time = Math.max(this.time, this.#free) + 10;
    this.pace.done(mark);
  }
}

Deno.test("the host waits where a GPU is a second behind, however fast the GPU is", () => {
  for (const factor of [20, 1, 1 / 500]) {
    const gpu = new FakeGpu(factor);
    // What one second of this GPU is, in submits of a hundredth of it.
    const work = 0.01 / factor;
    let worst = 0;
    for (let i = 0; i < 3000; i++) {
      gpu.submit(work);
      if (i > 2000) worst = Math.max(worst, gpu.behind);
      if (gpu.pace.ahead) gpu.wait();
    }
    assert(worst > 0.4 && worst < 1.5, `${worst} seconds behind at a factor of ${factor}`);
  }
});

Deno.test("a host that is slower than the GPU hardly waits", () => {
  const gpu = new FakeGpu(1 / 100);
  let waits = 0;
  for (let i = 0; i < 1000; i++) {
    gpu.submit(0.1); // a millisecond of this GPU
    gpu.time += 20;
    if (!gpu.pace.ahead) continue;
    waits++;
    gpu.wait();
  }
  assert(waits <= 20, `${waits} waits of 10 ms in 20 seconds`);
});

Deno.test("submits grow and shrink to a tenth of a second of the GPU they go to", () => {
  for (const factor of [5, 1 / 50]) {
    const gpu = new FakeGpu(factor);
    for (let i = 0; i < 20; i++) {
      gpu.submit(1 / factor);
      gpu.wait();
    }
    assertAlmostEquals(gpu.pace.submitWork * factor, 0.1, 0.01);
  }
});

Deno.test("a launch of seconds is cut into parts of a tenth of a second", () => {
  const pace = new Pace();
  const view: View = {
    buffer: { bytes: 0 },
    dtype: "f32",
    offset: 0,
    shape: [10, 1000],
    strides: [0, 1],
  };
  const d: Dispatch = {
    op: "conv2d",
    key: "",
    source: () => "",
    views: [{ name: "x", view, access: "read" }],
    workgroups: 10_000,
    flops: 3e11, // three seconds of the assumed GPU
  };
  const work = pace.workOf(d);
  assertAlmostEquals(work, 3, 0.001);
  assertEquals(pace.partOf(10_000, work), 333);
  assertEquals(pace.partOf(10_000, 0.09), 10_000);
  assertEquals(pace.partOf(2, 50), 1);
});

gpuTest("launches cut to single workgroups give the same bits", async (b) => {
  const { pace } = b.runtime;
  const usual = pace.partOf.bind(pace);
  for (const name of ["65x128 . 128x3", "two batch dimensions"]) {
    const test = conformanceCases({ kernel: "matmul" }).find((test) => test.name === name)!;
    const before = b.runtime.stats.dispatches;
    await runConformance(b, test, (run) => {
      pace.partOf = () => 1;
      run();
      b.runtime.settle();
      pace.partOf = usual;
    });
    assert(b.runtime.stats.dispatches >= before + 3);
  }
});

gpuTest("work is submitted as it is recorded where it takes long", async (b) => {
  const test = conformanceCases({ kernel: "matmul" }).find((t) => t.name === "65x128 . 128x3")!;
  await runConformance(b, test);
  const { submits, dispatches } = b.runtime.stats;
  assert(dispatches >= 4 && submits >= dispatches, `${dispatches} launches, ${submits} submits`);
}, { submitSeconds: 1e-12 });

gpuTest("ready() waits for the work that was submitted once it is much", async (b) => {
  const { pace } = b.runtime;
  await b.ready();
  pace.submit(1e9);
  assert(pace.ahead);
  await b.ready();
  assert(!pace.ahead);
});
