/**
 * DiT-XL/2 on more GPUs than there were to measure on: what is sent, how long it takes, and what helps,
 * as docs/scaling.md has it. All of it follows from the figures below and the simulation.
 */
import type { Row } from "../measure.ts";
import {
  allReduceSeconds,
  type Cluster,
  clusterSeconds,
  fitLink,
  interpolated,
  type Link,
} from "./costs.ts";
import type { Measurements } from "./results.ts";
import { simulateStep, type StepTimes } from "./simulate.ts";
import { countTimeline, spread, type Timeline } from "./timeline.ts";

/**
 * A training step of DiT-XL/2 on one GPU: batch 32, fp16, checkpointing, NVIDIA H200, Deno's WebGPU
 * (bench/results/gpu/gpu-nvidia-h200-deno.json; what asking costs, and copies, in
 * gpu-nvidia-h200-deno-before.json).
 */
export const GPU = {
  batch: 32,
  /** Seconds of a step ("training steps"). */
  step: 0.859,
  /** Of those, AdamW, the average, the norm and the search for what is not finite ("GPU time of a step"). */
  optimizer: 0.0082,
  /** Seconds until a small read-back is there ("ms a read-back"). */
  readBack: 0.0116,
  /** Seconds of a submit, which every read-back is ("all, us a submit"). */
  submit: 0.00017,
} as const;

/** Seconds of the host to make the launches of a step rather than replay them, from the latter. */
const HOST_ANEW = 0.159;

/** Seconds of copies by bytes ("copies between GPU and host"), without the wait for a read-back. */
const COPIES = {
  toHost: interpolated([
    { bytes: 2 ** 20, seconds: 0.0005 },
    { bytes: 2 ** 22, seconds: 0.0022 },
    { bytes: 2 ** 24, seconds: 0.008 },
    { bytes: 2 ** 26, seconds: 0.101 },
    { bytes: 2 ** 28, seconds: 0.449 },
  ]),
  fromHost: interpolated([
    { bytes: 2 ** 20, seconds: 0.00025 },
    { bytes: 2 ** 22, seconds: 0.00061 },
    { bytes: 2 ** 24, seconds: 0.002 },
    { bytes: 2 ** 26, seconds: 0.008 },
    { bytes: 2 ** 28, seconds: 0.0669 },
  ]),
};

/** Bytes a second that AdamW moves in a host's memory, of 28 a weight: assumed, of a server. */
export const HOST_MEMORY = 40e9;

/** Networks, as their makers give them; the latency is that of a small message of MPI's. */
export const NETWORKS: Readonly<Record<string, Link>> = {
  "10 Gbit/s": { latency: 30e-6, bandwidth: 1.25e9 },
  "25 Gbit/s": { latency: 20e-6, bandwidth: 3.1e9 },
  "100 Gbit/s": { latency: 5e-6, bandwidth: 12.5e9 },
  "400 Gbit/s": { latency: 3e-6, bandwidth: 50e9 },
};

const MB = 2 ** 20;
const GB = 1e9;
/** Elements of the gradient of DiT-XL/2, with the gaps of the flat buffers that hold them. */
const ELEMENTS = 674_834_752;
/** Bytes of a flat buffer, of which buckets are pieces. */
const WHOLE_BUFFER = 2 ** 25 * 4;

/** Everything that the plan is made of. */
export interface Inputs {
  /** Ranks of one machine, through its memory, additions included. */
  readonly inside: Link;
  /** Timelines of DiT-XL/2 by bytes of a bucket. */
  readonly timelines: ReadonlyMap<number, Timeline>;
}

/** Bucket sizes of the plan. */
const BUCKETS = [MB, 4 * MB, 16 * MB, WHOLE_BUFFER];

/** What is trained. */
const JOB = {
  model: "DiT-XL/2",
  batch: GPU.batch,
  precision: "fp16",
  checkpointing: true,
} as const;

/** Makes the inputs of what was measured here. */
export async function inputsOf(measured: Measurements): Promise<Inputs> {
  const timelines = new Map<number, Timeline>();
  for (const bucketBytes of BUCKETS) {
    timelines.set(bucketBytes, await countTimeline(JOB, bucketBytes));
  }
  return { inside: insideLink(measured), timelines };
}

/** Messages of up to 4 MB, which fit in caches, between the two ranks that had a core each. */
function insideLink(measured: Measurements): Link {
  const rows = measured.allReduce("Open MPI", 2).filter(({ bytes }) => bytes <= 4 * MB);
  return fitLink(rows);
}

/** Where ranks run. */
export interface Place {
  readonly ranks: number;
  readonly machines: number;
  readonly network: Link;
  readonly placement?: "block" | "cyclic";
}

/** A network as an all-reduce sees it: half of what is received is added up, at the machine's rate. */
const withAdditions = ({ latency, bandwidth }: Link, inside: Link): Link => ({
  latency,
  bandwidth: 1 / (1 / bandwidth + 0.5 / inside.bandwidth),
});

/** Seconds of an all-reduce at a place. */
function allReduceAt(bytes: number, place: Place, inside: Link): number {
  const { ranks, machines, network, placement } = place;
  if (ranks === 1) return 0;
  const between = withAdditions(network, inside);
  if (machines === ranks) return allReduceSeconds(bytes, ranks, between);
  const cluster: Cluster = { machines, ranksPerMachine: ranks / machines, inside, between };
  return clusterSeconds(bytes, cluster, placement);
}

/** How a step is taken. */
export interface Method {
  readonly bucketBytes: number;
  /** 4 for f32, 2 for f16. */
  readonly elementBytes: number;
  /** Whether the host's thread looks after finished buckets while backward is under way. */
  readonly overlapped: boolean;
  /** Parts of a batch of `GPU.batch` each, of which the last one's gradients are sent. */
  readonly parts: number;
  /** Whether each rank updates its share of the weights (ZeRO-1). */
  readonly sharded: boolean;
  /** Whether the host does that, which has the masters, moments and average then. */
  readonly onHost: boolean;
  /** How many times as fast reading from a GPU is as it was measured. */
  readonly reading: number;
  /** How many times as fast ranks of a machine exchange and add up as they did here. */
  readonly adding: number;
}

/** What `deno task train` does. */
const AS_NOW: Method = {
  bucketBytes: 16 * MB,
  elementBytes: 4,
  overlapped: false,
  parts: 1,
  sharded: false,
  onHost: false,
  reading: 1,
  adding: 1,
};

/** Simulates a step; its seconds. */
export function stepSeconds(place: Place, method: Method, inputs: Inputs): number {
  const { bucketBytes, elementBytes, overlapped, parts, sharded, onHost, reading, adding } = method;
  const timeline = inputs.timelines.get(bucketBytes)!;
  const passes = GPU.step - GPU.optimizer;
  if (place.ranks === 1) return parts * passes + GPU.optimizer;
  const buckets = timeline.length;
  const bytes = ELEMENTS * elementBytes;
  // A read-back submits what is recorded and waits for it. Within backward, which then cannot be
  // replayed as a whole, the GPU waits each time for the host to record what comes next.
  const stalls = buckets * GPU.submit + (overlapped ? HOST_ANEW : 0);
  const own = spread(
    timeline,
    { passes: passes + stalls, optimizer: GPU.optimizer },
    elementBytes,
  );
  const [first, ...rest] = own.passes;
  const times: StepTimes = {
    ...own,
    passes: [{ ...first!, seconds: first!.seconds + (parts - 1) * passes }, ...rest],
  };
  const toHost = (bytes: number) => COPIES.toHost(bytes) / reading;
  const share = sharded ? 1 / place.ranks : 1;
  const { latency, bandwidth } = inputs.inside;
  const inside = { latency: latency / adding, bandwidth: bandwidth * adding };
  const reduce = (bytes: number) => allReduceAt(bytes, place, inside) / (sharded ? 2 : 1);
  const { seconds } = simulateStep([sharded ? withShare(times) : times], {
    costs: {
      toHost,
      delay: GPU.readBack,
      allReduce: reduce,
      fromHost: (bytes) => onHost ? 0 : COPIES.fromHost(bytes) * share,
    },
    when: overlapped ? "during backward" : "after backward",
    cores: Infinity,
    coresOfReducing: 0,
    polling: false,
  });
  return seconds;

  /** After its share of the update a rank sends its weights and gets those of others, piece by piece. */
  function withShare(times: StepTimes): StepTimes {
    const bucket = bucketBytes * elementBytes / 4;
    const back = buckets * COPIES.fromHost(bucket);
    const slowest = Math.max(reduce(bytes), back, onHost ? 0 : buckets * share * toHost(bucket));
    const update = onHost
      ? 28 * ELEMENTS * share / HOST_MEMORY
      : times.optimizer * share + GPU.readBack;
    return { ...times, optimizer: update + slowest };
  }
}

const one = (inputs: Inputs, method = AS_NOW) =>
  stepSeconds({ ranks: 1, machines: 1, network: NETWORKS["10 Gbit/s"]! }, method, inputs);

/** A step in figures: images a second, and of those of as many GPUs by themselves. */
function figures(place: Place, method: Method, inputs: Inputs): Row {
  const seconds = stepSeconds(place, method, inputs);
  const images = place.ranks * method.parts * GPU.batch;
  return {
    "ms a step": 1000 * seconds,
    "images/s": images / seconds,
    "of ideal, %": 100 * one(inputs, method) / seconds,
  };
}

const INSIDE: Pick<Place, "machines" | "network"> = {
  machines: 1,
  network: NETWORKS["100 Gbit/s"]!,
};

/** Where the plan looks. */
const PLACES: Readonly<Record<string, Place>> = {
  "1 GPU": { ranks: 1, ...INSIDE },
  "2, one machine": { ranks: 2, ...INSIDE },
  "8, one machine": { ranks: 8, ...INSIDE },
  "64, 8 machines, 25 Gbit/s": { ranks: 64, machines: 8, network: NETWORKS["25 Gbit/s"]! },
  "64, 8 machines, 100 Gbit/s": { ranks: 64, machines: 8, network: NETWORKS["100 Gbit/s"]! },
  "64, 8 machines, 400 Gbit/s": { ranks: 64, machines: 8, network: NETWORKS["400 Gbit/s"]! },
};

/** With the host's thread looking up between the blocks of the backward pass. */
const YIELDING: Method = { ...AS_NOW, overlapped: true };

/** Changes of a step, by what they are. */
const CHANGES: readonly (readonly [string, Partial<Method>, Partial<Place>?])[] = [
  ["as now: f32, sent after backward", { overlapped: false }],
  ["the same with buckets of 1 MB", { overlapped: false, bucketBytes: MB }],
  ["f32, sent during backward", {}],
  ["f16, sent during backward", { elementBytes: 2 }],
  ["the same, 4 parts a step", { elementBytes: 2, parts: 4 }],
  ["f32, 4 parts a step", { parts: 4 }],
  ["f32, optimizer state sharded", { sharded: true }],
  ["f16, optimizer state sharded", { sharded: true, elementBytes: 2 }],
  ["f16, optimizer on the host, sharded", { sharded: true, onHost: true, elementBytes: 2 }],
  ["f32, added up 4 times as fast", { adding: 4 }],
  ["f16, added up 4 times as fast", { elementBytes: 2, adding: 4 }],
  ["the same, and read 4 times as fast", { elementBytes: 2, adding: 4, reading: 4 }],
  ["f32, ranks dealt out to machines in turns", {}, { placement: "cyclic" }],
];

/**
 * Bytes of DiT-XL/2's state on a GPU: weights, gradients, two moments, the average, all f32; with the
 * optimizer on the host, weights in f16 and gradients.
 */
function memoryRow(ranks: number): Row {
  const whole = 4 * ELEMENTS / GB;
  return {
    "ranks": ranks,
    "weights, gradients": 2 * whole,
    "moments": 2 * whole,
    "average": whole,
    "all, GB": 5 * whole,
    "moments sharded, GB": (3 + 2 / ranks) * whole,
    "and the average, GB": (2 + 3 / ranks) * whole,
    "optimizer on the host, GB": 1.5 * whole,
  };
}

/** What was measured here, and what the simulation makes of it. */
function measuredTables(measured: Measurements): [string, Row[]][] {
  const kinds = ["Open MPI", "MPICH"].flatMap((mpi) => [2, 4].map((ranks) => ({ mpi, ranks })));
  const sizes = measured.allReduce("Open MPI", 2);
  const allReduces = sizes.map(({ bytes }, i): Row => ({
    "KB": bytes / 1024,
    ...Object.fromEntries(
      kinds.map(({ mpi, ranks }) => [
        `${mpi}, ${ranks} ranks, ms`,
        1000 * measured.allReduce(mpi, ranks)[i]!.seconds,
      ]),
    ),
  }));
  const trained = kinds.filter(({ ranks }) => ranks === 2).flatMap(({ mpi }) =>
    measured.training("DiT-S/4", 16, mpi).map((row): Row => ({
      "MPI": mpi,
      "DiT-S/4, batch 16": row[""]!,
      "images/s": row["images/s"]!,
      "of one process": row["of one process"]!,
      "waiting, %": row["waiting, %"] ?? "",
      "overlap, %": row["overlap, %"] ?? "",
      "simulated": row["simulated images/s"] ?? "",
    }))
  );
  return [
    ["All-reduces on this machine", allReduces],
    ["Training on this machine", trained],
  ];
}

/** The tables of the document, by title. */
export function tablesOf(inputs: Inputs, measured: Measurements): Map<string, Row[]> {
  const tables = new Map<string, Row[]>(measuredTables(measured));
  tables.set(
    "What a rank sends in a step",
    [2, 4, 8, 16, 64].map((ranks) => ({
      "ranks": ranks,
      "GB, f32": 2 * (ranks - 1) / ranks * 4 * ELEMENTS / GB,
      "GB, f16": 2 * (ranks - 1) / ranks * 2 * ELEMENTS / GB,
    })),
  );
  tables.set(
    "Seconds of all-reduces in a step, one rank a machine",
    Object.entries(NETWORKS).flatMap(([name, network]) =>
      [2, 8, 64].map((ranks) => {
        const place = { ranks, machines: ranks, network };
        const all = (bucketBytes: number, elementBytes: number) => {
          return inputs.timelines.get(bucketBytes)!.reduce(
            (sum, { elements }) => sum + allReduceAt(elements * elementBytes, place, inputs.inside),
            0,
          );
        };
        return {
          "network": name,
          "ranks": ranks,
          "buckets of 1 MB": all(MB, 4),
          "4 MB": all(4 * MB, 4),
          "16 MB": all(16 * MB, 4),
          "16 MB, sent as f16": all(16 * MB, 2),
        };
      })
    ),
  );
  tables.set(
    "What crossing to the host adds to a step on the GPU",
    BUCKETS.map((bucketBytes) => {
      const buckets = inputs.timelines.get(bucketBytes)!.length;
      return {
        "MB a bucket": bucketBytes / MB,
        "buckets": buckets,
        "submits, ms": 1000 * buckets * GPU.submit,
        "to the host, ms": 1000 * buckets * COPIES.toHost(bucketBytes),
        "from the host, ms": 1000 * buckets * COPIES.fromHost(bucketBytes),
      };
    }),
  );
  tables.set(
    "A step of DiT-XL/2, batch 32 a GPU",
    Object.entries(PLACES).flatMap(([name, place]) =>
      ([["after backward", AS_NOW], ["during backward", YIELDING]] as const)
        .filter(([, method]) => place.ranks > 1 || method === AS_NOW)
        .map(([how, method]) => ({ "GPUs": name, "sent": how, ...figures(place, method, inputs) }))
    ),
  );
  const near = PLACES["8, one machine"]!;
  const far = PLACES["64, 8 machines, 100 Gbit/s"]!;
  const changed = (from: Place, changes: typeof CHANGES) =>
    changes.map(([change, method, place]) => ({
      "change": change,
      ...figures({ ...from, ...place }, { ...YIELDING, ...method }, inputs),
    }));
  const methods = CHANGES.filter(([, , place]) => place === undefined);
  tables.set("8 GPUs, one machine: what helps", changed(near, methods));
  tables.set("64 GPUs, 8 machines, 100 Gbit/s: what helps", changed(far, CHANGES));
  tables.set("Memory of the state of training", [1, 2, 8, 64].map(memoryRow));
  return tables;
}

/** Images a second by number of GPUs, for the picture: one machine of up to 8, then more of them. */
export function curvesOf(inputs: Inputs): Map<string, { ranks: number; images: number }[]> {
  const network = NETWORKS["100 Gbit/s"]!;
  const curve = (method: Method) =>
    [1, 2, 4, 8, 16, 32, 64].map((ranks) => {
      const place = { ranks, machines: Math.max(1, ranks / 8), network };
      const images = ranks * method.parts * GPU.batch / stepSeconds(place, method, inputs);
      return { ranks, images };
    });
  const ideal = [1, 64].map((ranks) => ({ ranks, images: ranks * GPU.batch / one(inputs) }));
  return new Map([
    ["as many times one GPU", ideal],
    ["f16, during backward, 4 parts", curve({ ...YIELDING, elementBytes: 2, parts: 4 })],
    ["f16, during backward", curve({ ...YIELDING, elementBytes: 2 })],
    ["f32, during backward", curve(YIELDING)],
    ["now", curve(AS_NOW)],
  ]);
}
