import { assertAlmostEquals, assertEquals } from "@std/assert";
import {
  type Algorithm,
  allReduceSeconds,
  clusterSeconds,
  fitLink,
  interpolated,
} from "./costs.ts";

const LINK = { latency: 1e-5, bandwidth: 1e9 };

/** Messages and bytes that each rank sends, by playing the algorithm round by round. */
function played(algorithm: Algorithm, ranks: number, bytes: number): [number, number] {
  let [messages, sent] = [0, 0];
  const send = (size: number) => [messages, sent] = [messages + 1, sent + size];
  if (algorithm === "ring") {
    for (let round = 0; round < 2 * (ranks - 1); round++) send(bytes / ranks);
  } else if (algorithm === "recursive doubling") {
    for (let distance = 1; distance < ranks; distance *= 2) send(bytes);
  } else {
    for (let piece = bytes / 2; piece >= bytes / ranks; piece /= 2) send(piece);
    for (let piece = bytes / ranks; piece < bytes; piece *= 2) send(piece);
  }
  return [messages, sent];
}

Deno.test("an all-reduce costs what its messages do", () => {
  for (const algorithm of ["ring", "recursive doubling", "halving and doubling"] as const) {
    for (const ranks of [2, 4, 8, 64]) {
      const [messages, sent] = played(algorithm, ranks, 2 ** 20);
      assertAlmostEquals(
        allReduceSeconds(2 ** 20, ranks, LINK, algorithm),
        messages * LINK.latency + sent / LINK.bandwidth,
        1e-12,
      );
    }
  }
  assertEquals(allReduceSeconds(2 ** 20, 1, LINK), 0);
});

Deno.test("the fastest doubles small messages and cuts large ones", () => {
  const of = (bytes: number, algorithm?: Algorithm) => allReduceSeconds(bytes, 8, LINK, algorithm);
  assertEquals(of(100), of(100, "recursive doubling"));
  assertEquals(of(2 ** 24), of(2 ** 24, "halving and doubling"));
});

Deno.test("ranks that follow each other on a machine send little between machines", () => {
  const slow = { latency: 1e-5, bandwidth: 1e8 };
  const cluster = { machines: 2, ranksPerMachine: 4, inside: LINK, between: slow };
  const bytes = 2 ** 24;
  // Each rank has an eighth left when it leaves the machine, with which four share a card.
  assertAlmostEquals(
    clusterSeconds(bytes, cluster),
    2 * (2e-5 + 0.75 * bytes / 1e9) + 2 * (1e-5 + 4 * bytes / 8 / 1e8),
  );
  assertAlmostEquals(
    clusterSeconds(bytes, cluster, "cyclic"),
    2 * (1e-5 + 4 * bytes / 2 / 1e8) + 2 * (2e-5 + (1 / 4 + 1 / 8) * bytes / 1e9),
  );
  for (
    const cluster of [{ machines: 8, ranksPerMachine: 1 }, { machines: 1, ranksPerMachine: 8 }]
  ) {
    for (const placement of ["block", "cyclic"] as const) {
      assertAlmostEquals(
        clusterSeconds(bytes, { ...cluster, inside: LINK, between: LINK }, placement),
        allReduceSeconds(bytes, 8, LINK, "halving and doubling"),
      );
    }
  }
});

Deno.test("measured times are met, and go on at the last rate", () => {
  const seconds = interpolated([
    { bytes: 1000, seconds: 2 },
    { bytes: 3000, seconds: 4 },
    { bytes: 2000, seconds: 3.5 },
  ]);
  assertEquals([500, 1000, 1500, 2500, 3000, 5000].map(seconds), [2, 2, 2.75, 3.75, 4, 5]);
});

Deno.test("latency and bandwidth are found in times that follow them", () => {
  const measured = [1e3, 1e5, 1e7].map((bytes) => ({ bytes, seconds: 1e-5 + bytes / 1e9 }));
  const { latency, bandwidth } = fitLink(measured);
  assertAlmostEquals(latency, 1e-5, 1e-9);
  assertAlmostEquals(bandwidth / 1e9, 1, 1e-6);
});
