import { assert, assertEquals, assertThrows } from "@std/assert";
import { expect } from "@std/expect";
import { DataError } from "./errors.ts";
import { BatchSampler } from "./sampler.ts";

const options = { size: 10, batchSize: 4, seed: 7 };

Deno.test("a pass shows every example once at most, and leaves out what fills no batch", () => {
  const sampler = new BatchSampler(options);
  assertEquals(sampler.stepsPerEpoch, 2);
  const seen = [sampler.next(), sampler.next()].flatMap(({ indices }) => indices);
  assertEquals(new Set(seen).size, 8);
  assert(seen.every((index) => index >= 0 && index < 10));
  assertEquals(sampler.position, { epoch: 1, step: 0, size: 10 });
});

Deno.test("passes differ, seeds differ, and a seed repeats itself", () => {
  const pass = (seed: number, epoch: number) =>
    new BatchSampler({ size: 50, batchSize: 50, seed, position: { epoch, step: 0 } }).next();
  expect(pass(7, 0).indices).not.toEqual(pass(7, 1).indices);
  expect(pass(7, 0).indices).not.toEqual(pass(8, 0).indices);
  expect(pass(7, 0).flips).not.toEqual(pass(7, 1).flips);
  assertEquals(pass(7, 1), pass(7, 1));
});

Deno.test("a sampler continues exactly from a position that went through JSON", () => {
  const whole = new BatchSampler(options);
  const batches = Array.from({ length: 5 }, () => whole.next());
  const position = JSON.parse(JSON.stringify(batches[2]!.next));
  const resumed = new BatchSampler({ ...options, position });
  assertEquals([resumed.next(), resumed.next()], batches.slice(3));
  assertThrows(
    () => new BatchSampler({ ...options, size: 11, position }),
    DataError,
    "expected data of 10 examples, as the run began with, but got 11",
  );
});

Deno.test("about half of the examples are mirrored, or none", () => {
  const half = new BatchSampler({ size: 1000, batchSize: 1000 }).next().flips.filter(Boolean);
  assert(half.length > 420 && half.length < 580);
  const none = new BatchSampler({ size: 1000, batchSize: 1000, flip: false }).next();
  assert(!none.flips.includes(true));
});

Deno.test("processes share the very batch that one alone would take", () => {
  const alone = new BatchSampler(options).next();
  const shares = [0, 1].map((rank) => new BatchSampler({ ...options, rank, world: 2 }).next());
  assertEquals(shares.flatMap(({ indices }) => indices), alone.indices);
  assertEquals(shares.flatMap(({ flips }) => flips), alone.flips);
  assertEquals(shares.flatMap(({ noise }) => noise.positions), alone.noise.positions);
});

Deno.test("processes share every part of a batch", () => {
  const settings = { size: 30, batchSize: 12, seed: 7 };
  const alone = new BatchSampler(settings).next();
  const shares = [0, 1].map((rank) =>
    new BatchSampler({ ...settings, parts: 3, rank, world: 2 }).next()
  );
  // parts of four, of which each process has two
  const together = [0, 1, 2].flatMap((part) =>
    shares.flatMap(({ indices }) => indices.slice(2 * part, 2 * part + 2))
  );
  assertEquals(together, alone.indices);
  assertEquals(shares[1]!.noise.positions, [2, 3, 6, 7, 10, 11]);
  assertEquals(shares[0]!.next, alone.next);
});

Deno.test("a sampler refuses what it cannot divide", () => {
  const make = (changed: object) => () => new BatchSampler({ ...options, ...changed });
  assertThrows(make({ size: 3 }), DataError, "at least one batch of 4 examples but the data has 3");
  assertThrows(make({ batchSize: 0 }), RangeError, "batch size of 1 or more");
  assertThrows(make({ world: 3 }), RangeError, "3 processes can share equally");
  assertThrows(
    make({ world: 2, parts: 4 }),
    RangeError,
    "2 processes can share equally in 4 parts",
  );
  assertThrows(make({ rank: 1 }), RangeError, "rank in [0, 1)");
  assertThrows(make({ position: { epoch: 0, step: 3 } }), RangeError, "0 to 2 steps");
});

Deno.test("classes are shown equally often where that is asked for, and parts of a pass repeat", () => {
  // 1 example of class 0, 3 of class 2, 20 of class 5
  const balance = Int32Array.from({ length: 24 }, (_, i) => i === 0 ? 0 : i < 4 ? 2 : 5);
  const settings = { size: 24, batchSize: 6, seed: 3, balance };
  const pass = (epoch: number, more: object = {}) => {
    const sampler = new BatchSampler({ ...settings, ...more, position: { epoch, step: 0 } });
    return Array.from({ length: 4 }, () => sampler.next());
  };
  const indices = pass(0).flatMap((batch) => batch.indices);
  const count = (of: number) => indices.filter((index) => balance[index] === of).length;
  assertEquals([count(0), count(2), count(5)], [8, 8, 8]);
  const large = indices.filter((index) => balance[index] === 5);
  assertEquals(new Set(large).size, 8, "none twice of a class that has enough");
  for (const index of [1, 2, 3]) {
    const times = indices.filter((other) => other === index).length;
    assert(times === 2 || times === 3, `${index} is shown ${times} times`);
  }
  expect(pass(0)).not.toEqual(pass(1));
  assertEquals(pass(0), pass(0));
  const position = JSON.parse(JSON.stringify(pass(0)[1]!.next));
  assertEquals(new BatchSampler({ ...settings, position }).next(), pass(0)[2]);
  const shares = [0, 1].map((rank) => pass(0, { rank, world: 2 })[0]!);
  assertEquals(shares.flatMap((share) => share.indices), pass(0)[0]!.indices);
  assertThrows(
    () => new BatchSampler({ ...settings, size: 25 }),
    RangeError,
    "expected the classes of 25 examples but got 24",
  );
});
