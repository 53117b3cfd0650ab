import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { type Setup, simulateStep, type StepTimes, undisturbed } from "./simulate.ts";

const MB = 2 ** 20;

/** 1 s forward, 2 s backward in four parts of 1 MB, half a second of the optimizer. */
const STEP: StepTimes = {
  passes: Array.from({ length: 4 }, (_, i) => ({ seconds: i === 0 ? 1.5 : 0.5, bytes: MB })),
  optimizer: 0.5,
};
const GPUS: Setup = {
  costs: { allReduce: () => 0 },
  when: "during backward",
  cores: Infinity,
  coresOfReducing: 0,
  polling: false,
};

/** The same with a forward pass of so many seconds. */
const withForward = (seconds: number): StepTimes => ({
  ...STEP,
  passes: STEP.passes.map((each, i) => i === 0 ? { ...each, seconds: seconds + 0.5 } : each),
});

/** The result of two equal ranks, or of those given. */
function simulated(setup: Partial<Setup>, ranks = [STEP, STEP]) {
  return simulateStep(ranks, { ...GPUS, ...setup });
}

Deno.test("without costs a step takes as long as what it computes", () => {
  assertEquals(simulated({}), { seconds: 3.5, waiting: 0, reducing: 0 });
});

Deno.test("what is sent during backward is hidden but for the last bucket", () => {
  const costs = { allReduce: () => 0.3 };
  const { seconds, waiting, reducing } = simulated({ costs });
  assertAlmostEquals(seconds, 3.8);
  assertAlmostEquals(waiting, 0.3);
  assertAlmostEquals(reducing, 1.2);
});

Deno.test("what is sent after backward is waited for in full", () => {
  const { seconds, waiting } = simulated({
    costs: { allReduce: () => 0.3 },
    when: "after backward",
  });
  assertAlmostEquals(seconds, 4.7);
  assertAlmostEquals(waiting, 1.2);
});

Deno.test("all-reduces that take longer than backward queue up", () => {
  // The first begins at 1.5 s and the four take 0.8 s each.
  assertAlmostEquals(simulated({ costs: { allReduce: () => 0.8 } }).seconds, 1.5 + 3.2 + 0.5);
});

Deno.test("ranks wait for the slowest", () => {
  const slow = withForward(2);
  const { seconds, waiting } = simulated({}, [STEP, slow]);
  assertAlmostEquals(seconds, 4.5);
  assertAlmostEquals(waiting, 0.5); // one waits 1 s, the other not at all
});

Deno.test("copies from and to a GPU are a pipeline with the all-reduces", () => {
  const costs = { allReduce: () => 0.1, toHost: () => 0.2, fromHost: () => 0.2 };
  assertAlmostEquals(simulated({ costs }).seconds, 3.5 + 0.5);
  // One kind of copy at a time: the slower queue decides.
  const slow = { allReduce: () => 0, toHost: () => 1, fromHost: () => 0 };
  assertAlmostEquals(simulated({ costs: slow }).seconds, 1.5 + 4 + 0.5);
});

Deno.test("a delay holds up every bucket, but not the next", () => {
  const costs = { allReduce: () => 0.1, toHost: () => 0.4, delay: 1 };
  assertAlmostEquals(simulated({ costs }).seconds, 3 + 0.4 + 1 + 0.1 + 0.5);
});

Deno.test("ranks that share cores slow each other down", () => {
  const four = [STEP, STEP, STEP, STEP];
  assertAlmostEquals(simulated({ cores: 2 }, four).seconds, 7);
  assertAlmostEquals(simulated({ cores: 2, threads: 2 }, [STEP]).seconds, 3.5);
});

Deno.test("an all-reduce on the cores of the ranks takes its time from their computing", () => {
  const costs = { allReduce: () => 0.1 };
  const hidden = simulated({ costs, cores: 4, coresOfReducing: 1 });
  assertAlmostEquals(hidden.seconds, 3.6);
  const shared = simulated({ costs, cores: 2, coresOfReducing: 1 });
  // All work of both ranks, on two cores that never idle.
  assertAlmostEquals(shared.seconds, 3.9);
});

Deno.test("polling for a late rank takes cores from it", () => {
  const late = withForward(1.5);
  const quiet = simulated({ cores: 1.5, coresOfReducing: 1 }, [STEP, late]);
  const polled = simulated({ cores: 1.5, coresOfReducing: 1, polling: true }, [STEP, late]);
  assert(polled.seconds > quiet.seconds + 0.05, `${polled.seconds} and ${quiet.seconds}`);
});

Deno.test("undisturbed() finds the work of threads that shared cores", () => {
  assertEquals(undisturbed([3, 2], 2), [3, 2]);
  // Three on two cores: two thirds of a core each until the first is done, then one each.
  const work = undisturbed([3, 6, 4.5], 2);
  [2, 5, 3.5].forEach((expected, i) => assertAlmostEquals(work[i]!, expected));
  const ranks = work.map((seconds): StepTimes => ({
    passes: [{ seconds, bytes: MB }],
    optimizer: 0,
  }));
  const { seconds, waiting } = simulated({ cores: 2 }, ranks);
  assertAlmostEquals(seconds, 6);
  assertAlmostEquals(waiting, (3 + 0 + 1.5) / 3);
});
