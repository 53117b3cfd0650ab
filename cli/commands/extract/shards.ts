/** Filling a folder of shards, a share of them on every rank. */
import {
  completeShards,
  LatentDataset,
  type LatentSettings,
  LatentWriter,
  type ShardRecord,
} from "@dit/data";
import { fromRankZero, gather } from "../../distributed/share.ts";
import type { World } from "../../distributed/world.ts";
import { removeTemporaries } from "../../shared/files.ts";
import { batchesOf, encodeAll, type Encoding } from "./encode.ts";
import type { Filling } from "./filling.ts";

/** Which part is made here, for processes that know nothing of each other. */
export interface Part {
  readonly rank: number;
  readonly world: number;
}

/** Opens a folder of shards, or makes it, and shares what is left to make. Collective. */
export async function fillShards(
  world: World,
  { out, part }: { readonly out: string; readonly part: Part },
  settings: LatentSettings,
  encoding: Encoding,
): Promise<Filling> {
  const writer = part.world > 1
    ? await LatentWriter.open(out, settings, part)
    : await openTogether(world, out, settings);
  const { remaining, doneBefore } = writer;
  const ranges = remaining.map(({ first, end }) => batchesOf(first, end, encoding.batchSize));
  const left = remaining.reduce((sum, { first, end }) => sum + end - first, 0);
  return {
    doneBefore,
    total: part.world > 1 ? doneBefore + left : settings.count,
    steps: steps(writer, ranges, encoding),
    async finish(whole) {
      if (part.world > 1) return `the shards of process ${part.rank} of ${part.world} are complete`;
      const made = (await gather(world, writer.made)).flat();
      return await fromRankZero(world, async () => {
        if (world.size > 1) await writer.take(made);
        if (!whole) return "";
        using dataset = await LatentDataset.open(out);
        return `${dataset.size.toLocaleString("en")} latents`;
      });
    },
  };
}

/** Rank 0 looks at what is there, and goes first. */
async function openTogether(
  world: World,
  out: string,
  settings: LatentSettings,
): Promise<LatentWriter> {
  const open = (done: readonly ShardRecord[]) =>
    LatentWriter.open(out, settings, { rank: world.rank, world: world.size, done });
  let first: LatentWriter | undefined;
  const done = await fromRankZero(world, async () => {
    const found = await completeShards(out, settings);
    first = await open(found);
    await removeTemporaries(out);
    return found;
  });
  return first ?? await open(done);
}

/** Encodes the batches of each shard, and writes it with its last one. */
async function* steps(
  writer: LatentWriter,
  ranges: readonly (readonly number[][])[],
  encoding: Encoding,
): AsyncGenerator<number> {
  const encoded = encodeAll(encoding, ranges.flat());
  for (const [i, batches] of ranges.entries()) {
    const shard = writer.begin(writer.remaining[i]!);
    for (const [k, batch] of batches.entries()) {
      shard.add((await encoded.next()).value!);
      if (k === batches.length - 1) await shard.commit();
      yield batch.length;
    }
  }
}
