import { assertEquals } from "@std/assert";
import { MODEL } from "../../model_info_test_util.ts";
import type { Engine, Picture, SampleEvent } from "../../protocol.ts";
import { usualParameters } from "./parameters.ts";
import { DrawingQueue, type Job } from "./queue.ts";

/** An engine that does what a test says. */
class FakeEngine implements Engine {
  readonly place = "browser";
  readonly calls: {
    say: (event: SampleEvent) => void;
    end: () => void;
    fail: (e: Error) => void;
  }[] = [];

  models(): Promise<[typeof MODEL]> {
    return Promise.resolve([MODEL]);
  }

  sample(_: unknown, say: (event: SampleEvent) => void, signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    signal.addEventListener("abort", () => reject(signal.reason));
    this.calls.push({ say, end: resolve, fail: reject });
    return promise;
  }
}

const PICTURE: Picture = { width: 1, height: 1, rgba: new Uint8ClampedArray(4) };
const settled = (): Promise<void> => new Promise((resolve) => setTimeout(resolve));

function setUp(): {
  engine: FakeEngine;
  queue: DrawingQueue;
  last: Map<number, Job>;
  add: () => Job;
} {
  const engine = new FakeEngine();
  const last = new Map<number, Job>();
  const queue = new DrawingQueue((job) => last.set(job.id, job));
  return { engine, queue, last, add: () => queue.add(engine, MODEL, usualParameters(MODEL)) };
}

Deno.test("drawings run one after the other, and know how many are before them", async () => {
  const { engine, queue, last, add } = setUp();
  const [a, b, c] = [add(), add(), add()];
  assertEquals([a, b, c].map(({ state }) => state), ["running", "waiting", "waiting"]);
  assertEquals([a, b, c].map(({ ahead }) => ahead), [0, 1, 2]);
  assertEquals(engine.calls.length, 1);
  const { say, end } = engine.calls[0]!;
  say({ kind: "loading", done: 5, total: 10 });
  assertEquals(last.get(a.id)!.loading, { done: 5, total: 10 });
  say({ kind: "step", step: 3, steps: 20, pictures: [PICTURE] });
  say({ kind: "step", step: 4, steps: 20 });
  assertEquals(last.get(a.id)!.step, 4);
  assertEquals(last.get(a.id)!.pictures, [PICTURE]); // those of the step before
  say({ kind: "done", pictures: [PICTURE], seconds: 2, device: "wasm" });
  end();
  await settled();
  assertEquals(last.get(a.id)!.state, "done");
  assertEquals([last.get(b.id)!.state, last.get(c.id)!.ahead], ["running", 1]);
  assertEquals(queue.open.map(({ id }) => id), [b.id, c.id]);
});

Deno.test("what is cancelled ends at once, and what comes of it later is not heard", async () => {
  const { engine, queue, last, add } = setUp();
  const [a, b, c] = [add(), add(), add()];
  queue.cancel(b.id);
  assertEquals(last.get(b.id)!.state, "cancelled");
  assertEquals(last.get(c.id)!.ahead, 1);
  queue.cancel(a.id);
  assertEquals(last.get(a.id)!.state, "cancelled");
  assertEquals(last.get(c.id)!.state, "running");
  engine.calls[0]!.say({ kind: "done", pictures: [PICTURE], seconds: 1, device: "wasm" });
  await settled();
  assertEquals(last.get(a.id)!.state, "cancelled");
  assertEquals(queue.open.map(({ id }) => id), [c.id]);
  queue.cancel(99); // nothing is called that
});

Deno.test("one that fails says why, and the next one runs", async () => {
  const { engine, last, add } = setUp();
  const [a, b] = [add(), add()];
  engine.calls[0]!.fail(new Error("no memory"));
  await settled();
  assertEquals([last.get(a.id)!.state, last.get(a.id)!.error], ["failed", "no memory"]);
  assertEquals(last.get(b.id)!.state, "running");
  engine.calls[1]!.end(); // without pictures
  await settled();
  assertEquals(last.get(b.id)!.state, "failed");
});
