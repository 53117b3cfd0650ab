import { granted } from "../tests/fixtures.ts";
import { assert, assertEquals } from "@std/assert";
import { compare, duration, measure, peakResidentBytes, table } from "./measure.ts";

Deno.test("compare() times every candidate in the same run", async () => {
  const calls = { a: 0, b: 0 };
  const timings = await compare({
    a: () => void calls.a++,
    b: async () => {
      calls.b++;
      await Promise.resolve();
    },
  }, { seconds: 0.01, batchSeconds: 0.001 });
  for (const name of ["a", "b"] as const) {
    const { best, median, calls: timed } = timings[name];
    assert(0 < best && best <= median);
    assert(timed <= calls[name]);
  }
});

Deno.test("measure() calls a slow function no more often than it must", async () => {
  let calls = 0;
  const work = async (): Promise<void> => {
    calls++;
    await new Promise((resolve) => setTimeout(resolve, 5));
  };
  const { calls: timed } = await measure(work, { seconds: 0, batchSeconds: 0 });
  assertEquals([calls, timed], [3, 1]);
});

Deno.test("duration() picks a unit", () => {
  assertEquals([2, 0.00125, 3e-7, 0].map(duration), ["2.00 s", "1.25 ms", "300 ns", "0.00 ns"]);
});

Deno.test("table() aligns its columns", () => {
  assertEquals(
    table([{ op: "add", "GB/s": 1.23456 }, { op: "layer norm", "GB/s": 12, note: "slow" }]),
    [
      "op          GB/s  note",
      "----------  ----  ----",
      "add         1.23",
      "layer norm    12  slow",
    ].join("\n"),
  );
});

Deno.test({
  name: "peakResidentBytes() gives the memory that an ended process took",
  ignore: !granted({ name: "ffi" }) || !granted({ name: "run", command: "deno" }) ||
    peakResidentBytes("children") === null,
  fn: async () => {
    // what is more than any process before, and than this one, which counts for a moment as its child
    const others = Math.max(peakResidentBytes("children")!, Deno.memoryUsage().rss) / 2 ** 20;
    const megabytes = Math.ceil(others) + 100;
    const code = `new Uint8Array(${megabytes} * 2 ** 20).fill(1)`;
    await new Deno.Command("deno", { args: ["eval", code] }).output();
    const after = peakResidentBytes("children")! / 2 ** 20;
    // V8 may hold two copies for a while, and has memory of its own
    assert(after >= megabytes && after < 3 * megabytes, `${after} MiB for ${megabytes} MiB`);
  },
});
