/** The promise of the command: a sample's bytes depend on its number only. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { hostTensor, mapSource } from "@dit/core/io";
import { type ModelConfig, type SampleSettings, usualBatchSize } from "@dit/core/pipeline";
import { type Device, setDevice } from "@dit/core/tensor";
import { SMALL, smallWeights } from "../../../tests/commands.ts";
import { eachDevice } from "../../../tests/devices.ts";
import { CommandError } from "../../shared/errors.ts";
import { ALONE } from "../../distributed/world.ts";
import type { Weights } from "../../model/weights.ts";
import { sampleMissing, type SamplingJob } from "./sampling.ts";
import type { Images } from "../../shared/sample_archive.ts";
import type { SampleStore } from "./store.ts";

/** Draws noise in every step. */
const SETTINGS: SampleSettings = {
  sampler: "ddpm",
  steps: 2,
  eta: 0,
  cfgScale: 2,
  cfgChannels: "all",
  cfgInterval: undefined,
  seed: 3,
  frames: 1,
};

/** Finished samples in memory. */
class MemoryStore implements Pick<SampleStore, "write"> {
  readonly samples = new Map<number, Uint8Array>();

  write(numbers: readonly number[], { pixels, size }: Images): Promise<void> {
    const bytes = size.reduce((product, d) => product * d, 1);
    for (const [i, number] of numbers.entries()) {
      assert(!this.samples.has(number), `sample ${number} is made twice`);
      this.samples.set(number, pixels.slice(i * bytes, (i + 1) * bytes));
    }
    return Promise.resolve();
  }
}

/** How samples are made. */
interface Way {
  readonly count: number;
  readonly ranks: number;
  readonly batch: number;
  readonly dtype?: "f32" | "f16";
  /** Samples that are there already. */
  readonly there?: readonly number[];
}

async function weightsOf(config: ModelConfig): Promise<Weights> {
  return {
    path: "small",
    kind: "test",
    config,
    source: mapSource(await smallWeights(config)),
    note: null,
    assumptions: [],
    classLabels: [],
    vaePath: null,
    knowsLatents: true,
    [Symbol.dispose]() {},
  };
}

/** What each rank makes, one after the other. */
async function samplesOf(
  device: Device,
  weights: Weights,
  { count, ranks, batch, dtype = "f32", there = [] }: Way,
): Promise<Map<number, Uint8Array>> {
  setDevice(device);
  const store = new MemoryStore();
  const job: SamplingJob = {
    weights,
    vaePath: null,
    settings: SETTINGS,
    dtype,
    group: device.backend.isBatchInvariant ? null : usualBatchSize(weights.config),
    batch,
    label: (number) => number * 5 % 6,
    isThere: Array.from({ length: count }, (_, i) => there.includes(i)),
    store: store as unknown as SampleStore,
  };
  const { log } = console;
  console.log = () => {};
  try {
    for (let rank = 0; rank < ranks; rank++) {
      await sampleMissing({ ...ALONE, rank, size: ranks }, job);
    }
  } finally {
    console.log = log;
  }
  assertEquals(store.samples.size, count - there.length);
  return store.samples;
}

/** Every sample of the second is one of the first, byte for byte. */
function assertSame(all: Map<number, Uint8Array>, some: Map<number, Uint8Array>, what: string) {
  for (const [number, pixels] of some) {
    assertEquals(pixels, all.get(number), `${what}: sample ${number}`);
  }
}

eachDevice(
  "ranks, batches and what is there already change no byte of a sample",
  async (device) => {
    const weights = await weightsOf(SMALL);
    const all = await samplesOf(device, weights, { count: 33, ranks: 1, batch: 32 });
    assert(new Set(all.values().map(String)).size === 33, "expected samples that differ");
    for (const ranks of [1, 2, 4]) {
      for (const batch of [1, 3, 8, 32]) {
        const way = { count: 11, ranks, batch };
        assertSame(all, await samplesOf(device, weights, way), JSON.stringify(way));
      }
    }
    const there = [0, 1, 4, 5, 6, 9, 20, 21, 22];
    const rest = await samplesOf(device, weights, { count: 33, ranks: 2, batch: 8, there });
    assertSame(all, rest, "what was missing");
    const half = { count: 5, ranks: 1, dtype: "f16" } as const;
    const halves = await samplesOf(device, weights, { ...half, batch: 5 });
    assertSame(halves, await samplesOf(device, weights, { ...half, batch: 2 }), "f16");
  },
  ["wasm"],
);

eachDevice(
  "what is stopped keeps finished samples, and goes on with the others",
  async (device) => {
    setDevice(device);
    const store = new MemoryStore();
    const job = {
      weights: await weightsOf(SMALL),
      vaePath: null,
      settings: SETTINGS,
      dtype: "f32",
      group: null,
      batch: 2,
      label: () => 1,
      isThere: new Array<boolean>(6).fill(false),
      store: store as unknown as SampleStore,
    } as const;
    const stop = {
      get requested() {
        return store.samples.size >= 2;
      },
    };
    const { log } = console;
    console.log = () => {};
    try {
      assertEquals(await sampleMissing(ALONE, job, stop), false);
      assertEquals([...store.samples.keys()], [0, 1]);
      const isThere = job.isThere.map((_, number) => store.samples.has(number));
      assertEquals(await sampleMissing(ALONE, { ...job, isThere }), true);
      assertEquals([...store.samples.keys()], [0, 1, 2, 3, 4, 5]);
    } finally {
      console.log = log;
    }
  },
  ["wasm"],
);

eachDevice("samples that are not finite are refused", async (device) => {
  const weights = await weightsOf(SMALL);
  const broken = new Map(await smallWeights(SMALL));
  broken.set("final_layer.linear.bias", hostTensor(new Float32Array(4).fill(NaN)));
  await assertRejects(
    () =>
      samplesOf(device, { ...weights, source: mapSource(broken) }, {
        count: 2,
        ranks: 1,
        batch: 2,
      }),
    CommandError,
    "not finite",
  );
}, ["wasm"]);
