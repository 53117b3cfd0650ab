import { assertEquals, assertRejects } from "@std/assert";
import { decodeFrames, type Picture, type WireEvent } from "@dit/web";
import { EventStream } from "./event_stream.ts";
import { patientStream, Permits } from "./patient_stream.ts";

const PICTURE: Picture = { width: 1, height: 1, rgba: Uint8ClampedArray.of(1, 2, 3, 255) };

const step = (step: number, pictures?: Picture[]): WireEvent => {
  return { kind: "step", step, steps: 9, ...(pictures ? { pictures } : {}) };
};

const DONE: WireEvent = { kind: "done", pictures: [PICTURE], seconds: 1, device: "d" };

Deno.test("a slow reader gets the newest event, the last preview with it, and the end", async () => {
  const stream = new EventStream(() => {});
  const events = decodeFrames(stream.body);
  const next = async () => (await events.next()).value;
  const first = next(); // waits for something
  stream.send({ kind: "queued", ahead: 1 });
  assertEquals(await first, { kind: "queued", ahead: 1 });
  assertEquals(stream.isBehind, false);
  stream.send(step(1));
  stream.send(step(2, [PICTURE]));
  stream.send(step(3));
  assertEquals(stream.isBehind, true);
  assertEquals(await next(), step(3, [PICTURE]));
  stream.send(step(4));
  stream.end(DONE);
  stream.send(step(5)); // behind the last one: nothing
  stream.end(step(6));
  assertEquals(await next(), DONE);
  assertEquals(await events.next(), { done: true, value: undefined });
});

Deno.test("a reader that leaves, or does not read for long, is told of once", async () => {
  let gone = 0;
  const left = new EventStream(() => gone++);
  await left.body.cancel();
  left.send(step(1));
  left.end(DONE);
  assertEquals(gone, 1);
  const asleep = Promise.withResolvers<void>();
  const slow = new EventStream(asleep.resolve, 5);
  slow.end(DONE);
  await asleep.promise;
  await assertRejects(() => slow.body.getReader().read(), Error, "not read for long");
});

Deno.test("files are read when they are asked for, and closed where nobody asks for long", async () => {
  let closed = Promise.withResolvers<void>();
  const parts = async function* () {
    try {
      for (;;) yield await Promise.resolve(Uint8Array.of(1));
    } finally {
      closed.resolve();
    }
  };
  const reader = patientStream(parts(), 5).getReader();
  await reader.read();
  await closed.promise;
  await assertRejects(() => reader.read(), Error, "not read for long");
  closed = Promise.withResolvers();
  const left = patientStream(parts()).getReader();
  await left.read();
  await left.cancel();
  await closed.promise;
});

Deno.test("permits are for some at a time, in the order in which they were asked for", async () => {
  const permits = new Permits(1);
  const told: number[] = [];
  const first = await permits.take();
  const later = [1, 2].map(async (i) => {
    using _ = await permits.take();
    told.push(i);
  });
  await Promise.resolve();
  assertEquals(told, []);
  first[Symbol.dispose]();
  await Promise.all(later);
  assertEquals(told, [1, 2]);
  (await permits.take())[Symbol.dispose]();
});
