/**
 * A hunt for bad inputs: small valid files of every format, damaged in seeded ways. Whatever the
 * damage, a reader either gives values or throws a FormatError: no other exception, no hang, no
 * memory taken because a header says so.
 */
import { assert, assertEquals } from "@std/assert";
import { expect } from "@std/expect";
import { goldenTest } from "../tests/fixtures.ts";
import { FormatError } from "./errors.ts";
import { type HostTensor, hostTensor } from "../tensor/mod.ts";
import { mapSource, readAll } from "./tensor_source.ts";
import { NpyFile, writeNpy } from "./numpy/npy.ts";
import { NpzFile, writeNpz } from "./numpy/npz.ts";
import { SafetensorsFile } from "./safetensors/reader.ts";
import { writeSafetensors } from "./safetensors/writer.ts";
import { type ByteSink, BytesSink, bytesSource } from "./source.ts";
import { StoredTensor, TorchFile } from "./torch/file.ts";
import { readPickle } from "./torch/pickle_reader.ts";
import { writePickle } from "./torch/pickle_writer.ts";
import { mapTensors, Namespace, type TorchKey, type TorchValue, Tuple } from "./torch/values.ts";
import { numbers } from "../tests/numbers.ts";
import { writeTorch } from "./torch/writer.ts";

const ROUNDS = 600;

/** No file here is larger than 10 KB; expanded tensors may take up to 128 MiB by design. */
const MAX_ALLOCATION = 256 * 2 ** 20;

/** Whole numbers below what is asked for, so that every run damages alike. */
function generator(seed: number): (below: number) => number {
  const next = numbers(seed);
  return (below) => Math.floor(next() * below);
}

/** `bytes` with one to three changes of the kinds that find mistakes. */
function damage(bytes: Uint8Array, random: (below: number) => number): Uint8Array<ArrayBuffer> {
  let out = [...bytes];
  for (let n = 1 + random(3); n > 0 && out.length > 0; n--) {
    const at = random(out.length);
    switch (random(8)) {
      case 0:
        out[at]! ^= 1 << random(8);
        break;
      case 1:
        out[at] = random(256);
        break;
      case 2:
        // A size that is huge, or just off.
        out.splice(
          at,
          4,
          ...[[255, 255, 255, 127], [255, 255, 255, 255], [0, 0, 0, 0]][random(3)]!,
        );
        break;
      case 3:
        out = out.slice(0, at);
        break;
      case 4:
        out.splice(at, 1 + random(16));
        break;
      case 5:
        out.splice(at, 0, ...Array.from({ length: 1 + random(8) }, () => random(256)));
        break;
      case 6:
        out.splice(at, 0, ...out.slice(at, at + random(64)));
        break;
      case 7:
        out.splice(random(out.length), 8, ...out.slice(at, at + 8));
        break;
    }
  }
  return Uint8Array.from(out);
}

/** Runs `body` while every typed array larger than `limit` bytes is an error. */
async function withAllocationLimit(limit: number, body: () => Promise<void>): Promise<void> {
  const original = globalThis.Uint8Array;
  globalThis.Uint8Array = new Proxy(original, {
    construct(target, args, newTarget) {
      assert(!(args[0] > limit), `an allocation of ${args[0]} bytes`);
      return Reflect.construct(target, args, newTarget);
    },
  });
  try {
    await body();
  } finally {
    globalThis.Uint8Array = original;
  }
}

/**
 * Damages `bytes` again and again.
 *
 * @param read Reads everything.
 * @param same Compares what was read with what the whole file holds, where a checksum proves that
 * nothing else can be read.
 */
async function hunt<T>(
  bytes: Uint8Array,
  read: (bytes: Uint8Array) => T | Promise<T>,
  same: (value: T, whole: T) => void = () => {},
): Promise<void> {
  const whole = await read(bytes);
  const random = generator(bytes.length);
  let refused = 0;
  await withAllocationLimit(MAX_ALLOCATION, async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const damaged = damage(bytes, random);
      let value: T;
      try {
        value = await read(damaged);
      } catch (error) {
        expect(error, `round ${round}: ${(error as Error).stack}`).toBeInstanceOf(FormatError);
        refused++;
        continue;
      }
      same(value, whole);
    }
  });
  assert(refused > ROUNDS / 4, `only ${refused} of ${ROUNDS} damaged files were refused`);
}

const TENSORS = new Map<string, HostTensor>([
  ["a", hostTensor(Float32Array.of(1, 2, 3, 4, 5, 6), [2, 3])],
  ["b.weight", hostTensor(BigInt64Array.of(7n))],
  ["c", hostTensor(new Uint8Array(0), [0, 3])],
]);

const CHECKPOINT = new Map<TorchKey, TorchValue<HostTensor>>([
  ["ema", TENSORS],
  ["opt", [new Tuple([0.9, 0.999]), new Map([[1, "one"]]), null, 2n ** 70n]],
  ["args", new Namespace(new Map([["lr", 1e-4]]))],
]);

async function encode(write: (sink: ByteSink) => Promise<void>): Promise<Uint8Array> {
  const sink = new BytesSink();
  await write(sink);
  return sink.bytes();
}

async function readTorch(bytes: Uint8Array): Promise<TorchValue<HostTensor>> {
  const file = await TorchFile.from(bytesSource(bytes));
  return await mapTensors(
    file.value,
    (part) => part instanceof StoredTensor,
    (part) => part.read(),
  );
}

Deno.test("damaged safetensors files are read or refused", async () => {
  const bytes = await encode((sink) => writeSafetensors(sink, mapSource(TENSORS), [["k", "v"]]));
  await hunt(bytes, async (b) => await readAll(await SafetensorsFile.from(bytesSource(b))));
});

Deno.test("damaged checkpoints give the same values or are refused", async () => {
  const bytes = await encode((sink) => writeTorch(sink, CHECKPOINT));
  await hunt(bytes, readTorch, (value, whole) => assertEquals(value, whole));
});

for (const name of ["deflated.pt", "newer_layout.pt", "protocol4.pt"]) {
  goldenTest(`damaged copies of ${name} give the same values or are refused`, [
    `checkpoint/${name}`,
  ], async ([path]) => {
    const bytes = await Deno.readFile(path!);
    await hunt(bytes, readTorch, (value, whole) => assertEquals(value, whole));
  });
}

goldenTest("damaged checkpoints in the old format are read or refused", [
  "checkpoint/legacy.pt",
], async ([path]) => {
  await hunt(await Deno.readFile(path!), readTorch);
});

Deno.test("damaged pickles are read or refused", async () => {
  const { bytes } = writePickle(CHECKPOINT);
  await hunt(bytes, (b) => readPickle(b, "x.pt", "data.pkl").value);
});

Deno.test("damaged npy files are read or refused", async () => {
  const bytes = await encode((sink) => writeNpy(sink, TENSORS.get("a")!));
  await hunt(bytes, async (b) => await (await NpyFile.from(bytesSource(b))).read());
});

Deno.test("damaged npz archives give the same arrays or are refused", async () => {
  const bytes = await encode((sink) => writeNpz(sink, mapSource(TENSORS)));
  const read = async (b: Uint8Array) => await readAll(await NpzFile.from(bytesSource(b)));
  await hunt(bytes, read, (value, whole) => assertEquals(value, whole));
});
