import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { init } from "./device.ts";
import {
  defaultGenerator,
  Generator,
  manualSeed,
  onDraw,
  philox,
  rand,
  randint,
  randn,
} from "./random.ts";
import { scope } from "./scope.ts";
import type { Tensor } from "./tensor.ts";
import { absoluteError, eachDevice } from "../tests/devices.ts";

const DEVICES = ["reference", "wasm", "webgpu"] as const;

Deno.test("philox() gives the known answers of Random123 (kat_vectors, philox4x32 10)", () => {
  const known: [number[], number[], number[]][] = [
    [[0, 0, 0, 0], [0, 0], [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]],
    [
      [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
      [0xffffffff, 0xffffffff],
      [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
    ],
    [
      [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
      [0xa4093822, 0x299f31d0],
      [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
    ],
  ];
  for (const [counter, key, want] of known) {
    const got = philox(counter as [number, number, number, number], key as [number, number]);
    assertEquals(got, want as [number, number, number, number]);
  }
});

/** The numbers a host generator gives from where `generator` stands. */
function host(generator: Generator, count: number): number[] {
  const copy = Generator.from(generator.state());
  return Array.from({ length: count }, () => copy.nextUniform());
}

const places: Record<string, () => Generator> = {
  "seed 0": () => new Generator(0),
  "a seed of 64 bits and a stream": () => new Generator(0x123456789abcdef0n, 77),
  "a negative seed": () => new Generator(-1),
  "the last stream": () => new Generator(5, 2 ** 32 - 1),
  "an offset that carries into the high word": () => {
    const generator = new Generator(9);
    generator.seek(2 ** 32 - 5);
    return generator;
  },
  "an offset beyond 2^32": () => {
    const generator = new Generator(9);
    generator.seek(5 * 2 ** 32 + 3);
    return generator;
  },
};
for (const [name, make] of Object.entries(places)) {
  eachDevice(`rand() gives the host's numbers bit for bit: ${name}`, async () => {
    using _ = scope();
    const want = host(make(), 37);
    assertEquals(Array.from(await rand([37], { generator: make() }).data()), want);
  }, DEVICES);
}

eachDevice("randint() gives the host's numbers, below any limit", async () => {
  using _ = scope();
  for (const limit of [1, 2, 10, 1000, 2 ** 31]) {
    const generator = new Generator(3);
    const t = randint(limit, [50], { generator: Generator.from(generator.state()) });
    const want = Array.from({ length: 50 }, () => generator.nextBelow(limit));
    assertEquals([t.dtype, Array.from(await t.data())], ["i32", want]);
  }
}, DEVICES);

/** Box-Muller of the same words, in float64. */
function normals(generator: Generator, count: number): number[] {
  const { seed, stream, offset } = generator.state();
  const key = [Number(BigInt(seed) & 0xffffffffn), Number(BigInt(seed) >> 32n)] as const;
  return Array.from({ length: count }, (_, i) => {
    const [a, b] = philox([offset + i, 0, stream, 0], key);
    const radius = Math.sqrt(-2 * Math.log1p(-(a >>> 8) * 2 ** -24));
    return radius * Math.cos(2 * Math.PI * (b >>> 8) * 2 ** -24);
  });
}

eachDevice("randn() is the same on every device to 1e-6", async () => {
  using _ = scope();
  const want = normals(new Generator(42, 1), 20_000);
  const error = absoluteError(
    await randn([20_000], { generator: new Generator(42, 1) }).data(),
    want,
  );
  assert(error <= 1e-6, `off by ${error}`);
}, DEVICES);

eachDevice("draws are addressed by offset: ten numbers are four and then six", async () => {
  using _ = scope();
  const draws: Record<string, (n: number, generator: Generator) => Tensor> = {
    rand: (n, generator) => rand([n], { generator }),
    randn: (n, generator) => randn([n], { generator }),
    randint: (n, generator) => randint(9, [n], { generator }),
  };
  for (const [name, draw] of Object.entries(draws)) {
    const whole = Array.from(await draw(10, new Generator(1)).data());
    const generator = new Generator(1);
    const parts = [draw(4, generator), draw(6, generator)].map((t) => t.data());
    assertEquals((await Promise.all(parts)).flatMap((a) => Array.from(a)), whole, name);
    assertEquals(generator.offset, 10);
    generator.seek(7);
    assertEquals(Array.from(await draw(3, generator).data()), whole.slice(7), name);
  }
}, DEVICES);

eachDevice("rand() and randn() have the moments they should", async () => {
  using _ = scope();
  const n = 200_000;
  const moments = (values: ArrayLike<number>) => {
    const sums = [0, 0, 0, 0];
    for (let i = 0; i < n; i++) for (let k = 0; k < 4; k++) sums[k]! += values[i]! ** (k + 1);
    return sums.map((s) => s / n);
  };
  const generator = new Generator(11);
  const uniform = moments(await rand([n], { generator }).data());
  // four standard errors each
  [1 / 2, 1 / 3, 1 / 4, 1 / 5].forEach((want, k) => assertAlmostEquals(uniform[k]!, want, 0.0028));
  const normal = moments(await randn([n], { generator }).data());
  [0, 1, 0, 3].forEach((want, k) => {
    assertAlmostEquals(normal[k]!, want, [0.009, 0.013, 0.035, 0.088][k]!);
  });
});

eachDevice("neighbouring seeds, streams and offsets give numbers that are not alike", async () => {
  using _ = scope();
  const n = 10_000;
  const later = new Generator(1);
  later.seek(1);
  const generators = [new Generator(1), new Generator(2), new Generator(1, 1), later];
  const reads = generators.map((generator) => randn([n], { generator }).data());
  const drawn = (await Promise.all(reads)).map((a) => Array.from(a));
  for (let a = 0; a < drawn.length; a++) {
    for (let b = 0; b < a; b++) {
      const products = drawn[a]!.reduce((s, v, i) => s + v * drawn[b]![i]!, 0);
      assert(Math.abs(products / n) < 0.045, `${a} and ${b}: ${products / n}`);
    }
  }
}, ["wasm"]);

eachDevice("f16 numbers are the f32 ones, rounded", async () => {
  using _ = scope();
  const half = await randn([100], { generator: new Generator(1), dtype: "f16" }).data();
  const whole = await randn([100], { generator: new Generator(1) }).data();
  assertEquals(Array.from(half), Array.from(Float16Array.from(whole)));
});

eachDevice("f16 numbers of rand() stay below 1", async () => {
  using _ = scope();
  const count = 20_000; // of which 1 in 4,096 would be rounded to 1
  const half = await rand([count], { generator: new Generator(1), dtype: "f16" }).data();
  const whole = await rand([count], { generator: new Generator(1) }).data();
  const want = Float16Array.from(whole, (v) => Math.min(v, 1 - 2 ** -11));
  assertEquals(Array.from(half), Array.from(want));
  assert(whole.some((v) => Math.f16round(v) === 1));
}, DEVICES);

Deno.test("a generator continues from its state, through JSON", () => {
  const generator = new Generator(2n ** 63n + 1n, 3);
  generator.claim(2 ** 33);
  const copy = Generator.from(JSON.parse(JSON.stringify(generator.state())));
  assertEquals(copy.state(), { seed: "9223372036854775809", stream: 3, offset: 2 ** 33 });
  assertEquals(copy.nextUint32(), generator.nextUint32());
});

eachDevice("generators of shares draw together what one draws for the whole", async () => {
  using _ = scope();
  const whole = new Generator(5, 1);
  const shares = [0, 1, 2].map((index) => new Generator(5, 1, { index, of: 3 }));
  for (const generator of [whole, ...shares]) generator.seek(2 ** 32 - 7); // past the low half
  for (const rows of [2, 4]) {
    const parts = shares.map((generator) => randn([rows, 5], { generator }));
    const together = await Promise.all(parts.map((t) => t.data()));
    const all = await randn([3 * rows, 5], { generator: whole }).data();
    assertEquals(together.flatMap((values) => Array.from(values)), Array.from(all));
  }
  const words = shares.flatMap((generator) => Array.from(generator.nextUint32s(2)));
  assertEquals(words, Array.from({ length: 6 }, () => whole.nextUint32()));
  for (const { offset } of shares) assertEquals(offset, whole.offset);
});

Deno.test("permutation() has every number once, in an order of its own", () => {
  const generator = new Generator(1);
  const [a, b] = [generator.permutation(1000), generator.permutation(1000)];
  assertEquals(Array.from(a).sort((x, y) => x - y), Array.from({ length: 1000 }, (_, i) => i));
  const same = a.filter((v, i) => v === b[i]).length;
  assert(same < 10, `${same} of 1000 in the same place`);
  assertEquals(generator.permutation(0).length, 0);
  assertEquals(Array.from(generator.permutation(1)), [0]);
});

Deno.test("manualSeed() starts the default generator anew", async () => {
  await init({ device: "wasm" });
  using _ = scope();
  const started = manualSeed(4);
  assertEquals(defaultGenerator(), started);
  const first = await randn([3]).data();
  assertEquals(defaultGenerator().offset, 3);
  manualSeed(4);
  assertEquals(await randn([3]).data(), first);
  manualSeed(0);
});

Deno.test("onDraw() is called before every draw, until it is stopped", () => {
  const generator = new Generator(1);
  const seen: number[] = [];
  const stop = onDraw((g) => seen.push(g.offset));
  generator.claim(5);
  generator.nextUniform();
  stop();
  generator.nextUniform();
  assertEquals(seen, [0, 5]);
});

Deno.test("generators and draws say what is wrong with their arguments", async () => {
  await init({ device: "wasm" });
  const faults: [() => unknown, string][] = [
    [() => new Generator(1.5), "Generator: expected a whole number as seed but got 1.5"],
    [() => new Generator(NaN), "but got NaN"],
    [() => new Generator(1, -1), "Generator: expected a stream in [0, 2^32) but got -1"],
    [() => new Generator(1, 2 ** 32), "expected a stream in [0, 2^32)"],
    [() => new Generator(1, 0, { index: 2, of: 2 }), "expected a share in [0, 2) but got 2"],
    [() => new Generator(1).seek(-1), "Generator: expected an offset of 0 or more but got -1"],
    [() => new Generator(1).seek(0.5), "expected an offset of 0 or more but got 0.5"],
    [() => new Generator(1).nextBelow(0), "nextBelow: expected a limit in [1, 2^32] but got 0"],
    [() => new Generator(1).nextBelow(NaN), "but got NaN"],
    [
      () => new Generator(1).permutation(-1),
      "permutation: expected a count in [0, 2^32] but got -1",
    ],
    [() => new Generator(1).permutation(2.5), "but got 2.5"],
    [() => randint(0, [1]), "randint: expected a limit in [1, 2^31] but got 0"],
    [() => randint(2.5, [1]), "randint: expected a limit in [1, 2^31] but got 2.5"],
    [() => randint(2 ** 31 + 1, [1]), "randint: expected a limit in [1, 2^31]"],
    [() => randn([-1]), "randn: expected a shape of whole numbers"],
    [() => rand([0.5]), "rand: expected a shape of whole numbers"],
  ];
  for (const [run, message] of faults) assertThrows(run, Error, message);
  assertEquals(rand([0, 3], { generator: new Generator(1) }).shape, [0, 3]);
});
