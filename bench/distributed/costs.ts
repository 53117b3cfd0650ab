/** What moving bytes between ranks costs, by the usual model: latency and volume over bandwidth. */

/** How fast messages go from one rank to another. */
export interface Link {
  /** Seconds of an empty message. */
  readonly latency: number;
  /** Bytes a second. */
  readonly bandwidth: number;
}

/** Ways to all-reduce. */
export type Algorithm = "ring" | "recursive doubling" | "halving and doubling";

/**
 * Seconds of an all-reduce of `bytes` among `ranks`, each with a link of its own.
 *
 * Thakur, Rabenseifner and Gropp, "Optimization of collective communication operations in MPICH"
 * (2005), without the time of the additions: a ring sends 2 (p - 1) pieces of n / p; recursive
 * doubling sends all n bytes log2 p times; halving and doubling sends as much as a ring in 2 log2 p
 * messages.
 */
export function allReduceSeconds(
  bytes: number,
  ranks: number,
  { latency, bandwidth }: Link,
  algorithm: Algorithm | "fastest" = "fastest",
): number {
  if (ranks === 1) return 0;
  const rounds = Math.ceil(Math.log2(ranks));
  const pieces = 2 * (ranks - 1) / ranks * bytes / bandwidth;
  switch (algorithm) {
    case "ring":
      return 2 * (ranks - 1) * latency + pieces;
    case "recursive doubling":
      return rounds * (latency + bytes / bandwidth);
    case "halving and doubling":
      return 2 * rounds * latency + pieces;
    case "fastest":
      return Math.min(
        ...(["ring", "recursive doubling", "halving and doubling"] as const).map((each) =>
          allReduceSeconds(bytes, ranks, { latency, bandwidth }, each)
        ),
      );
    default:
      return algorithm satisfies never;
  }
}

/** Seconds of a reduce-scatter, or of an all-gather: half an all-reduce by a ring. */
export function scatterSeconds(bytes: number, ranks: number, link: Link): number {
  return allReduceSeconds(bytes, ranks, link, "ring") / 2;
}

/** Machines of several ranks each. */
export interface Cluster {
  readonly machines: number;
  readonly ranksPerMachine: number;
  /** Between ranks of one machine: through its memory. */
  readonly inside: Link;
  /** Between machines; all ranks of a machine share it. */
  readonly between: Link;
}

/**
 * Seconds of an all-reduce by halving and doubling among all ranks of a cluster.
 *
 * Where the ranks of a machine follow each other ("block"), the large pieces go between neighbours and
 * stay inside the machine. Where they are dealt out to machines in turns ("cyclic"), the large pieces
 * all go through its one network card.
 */
export function clusterSeconds(
  bytes: number,
  { machines, ranksPerMachine, inside, between }: Cluster,
  placement: "block" | "cyclic" = "block",
): number {
  const rounds = (ranks: number) => Math.ceil(Math.log2(ranks));
  const insideRounds = rounds(ranksPerMachine);
  const all = insideRounds + rounds(machines);
  let seconds = 0;
  for (let round = 0; round < all; round++) {
    const piece = bytes / 2 ** (round + 1);
    const isInside = placement === "block" ? round < insideRounds : round >= all - insideRounds;
    seconds += isInside
      ? inside.latency + piece / inside.bandwidth
      : between.latency + ranksPerMachine * piece / between.bandwidth;
  }
  return 2 * seconds; // scattered, and gathered again
}

/** A time that was measured at some size. */
export interface Measured {
  readonly bytes: number;
  readonly seconds: number;
}

/**
 * Measured times as a function of bytes: on straight lines between them, and from the two largest on
 * at their rate.
 *
 * @param measured At two sizes or more.
 */
export function interpolated(measured: readonly Measured[]): (bytes: number) => number {
  const points = measured.toSorted((a, b) => a.bytes - b.bytes);
  return (bytes) => {
    const above = points.findIndex((point) => point.bytes >= bytes);
    if (above === 0) return points[0]!.seconds;
    const [a, b] = above < 0 ? points.slice(-2) : points.slice(above - 1, above + 1);
    return a!.seconds + (bytes - a!.bytes) * (b!.seconds - a!.seconds) / (b!.bytes - a!.bytes);
  };
}

/**
 * Latency and bandwidth of `seconds = latency + bytes / bandwidth`, by least squares of relative
 * errors, so that small messages count as much as large ones.
 *
 * @param measured At two sizes or more.
 */
export function fitLink(measured: readonly Measured[]): Link {
  let [w, wx, wxx, wy, wxy] = [0, 0, 0, 0, 0];
  for (const { bytes: x, seconds: y } of measured) {
    const weight = 1 / y ** 2;
    w += weight;
    wx += weight * x;
    wxx += weight * x * x;
    wy += weight * y;
    wxy += weight * x * y;
  }
  const slope = (w * wxy - wx * wy) / (w * wxx - wx * wx);
  return { latency: (wy - slope * wx) / w, bandwidth: 1 / slope };
}
