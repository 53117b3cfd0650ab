/** Sharing a run among ranks: what they have to have in common, and the proof that they do. */
import { type Formula, reduceKeep, reshaped, scope, type Tensor } from "@dit/core/tensor";
import type { Dataset } from "@dit/data";
import { agree } from "../distributed/agree.ts";
import type { World } from "../distributed/world.ts";
import { UsageError } from "../shared/errors.ts";
import type { Trainee } from "./trainee.ts";

/** Examples of which ranks compare what they read. */
const COMPARED = 3;

/**
 * Refuses a batch that ranks cannot share equally.
 *
 * @param flag The flag of the batch's size.
 * @throws {UsageError}
 */
export function refuseUneven(
  { size }: World,
  flag: string,
  { batchSize, gradAccum }: { readonly batchSize: number; readonly gradAccum: number },
): void {
  const shares = size * gradAccum;
  if (size === 1 || batchSize % shares === 0) return;
  const least = Math.floor(batchSize / shares) * shares;
  const near = [least, least + shares].filter((number) => number > 0).join(" or ");
  const parts = gradAccum === 1 ? "" : ` times --grad-accum ${gradAccum}`;
  throw new UsageError(
    `--${flag}: expected a multiple of ${shares}, the ${size} ranks${parts}, but got ` +
      `${batchSize}; take ${near}, or another number of ranks`,
  );
}

/** The line of a run's summary about its ranks: `ranks    2 by MPI (Open MPI 4.1.4), ...`. */
export function ranksText({ size, localSize, transport }: World, batchSize: number): string {
  const here = localSize === size ? "on this machine" : `${localSize} on this machine`;
  return `ranks    ${size} by ${transport}, ${here}, with ${batchSize / size} images a step each`;
}

/**
 * Refuses data that are not the same on all ranks, by their size, classes and some of the examples.
 * Collective.
 *
 * @throws {CommandError} naming the ranks that have others.
 */
export async function agreeOnData(world: World, path: string, dataset: Dataset): Promise<void> {
  if (world.size === 1) return;
  const { size, channels, height, width, classNames, labels } = dataset;
  const some = Array.from({ length: COMPARED }, (_, i) => Math.floor(i * (size - 1) / COMPARED));
  const { images } = await dataset.read(some);
  const found = {
    examples: size,
    shape: [channels, height, width],
    classes: await digest(new TextEncoder().encode(JSON.stringify(classNames))),
    labels: await digest(labels),
    images: await digest(images),
  };
  await agree(world, `the data in ${path}`, found, "copy them again, or train from a shared disk");
}

/**
 * Makes sure that a trainee is the same on all ranks, bit for bit: weights, averages and the
 * optimiser's state. Collective.
 *
 * @throws {CommandError} naming the ranks that differ.
 */
export async function agreeOnTrainee(trainee: Trainee): Promise<void> {
  const { world, step } = trainee;
  if (world.size === 1) return;
  const found: Record<string, string> = {};
  for (const [name, part] of Object.entries(trainee.sections())) {
    found[name] = await fingerprint(() => part.stateDict().values());
  }
  await agree(
    world,
    `what was trained, at step ${step},`,
    found,
    "the run ends with the checkpoints it has. Start all ranks with the same code, device and " +
      "weights",
  );
}

/** Elements that are added up exactly in float32: each counts 255 at most. */
const ROW = 2 ** 15;

/** Eight bits of each element that depend on all of its own. */
const MIXED: Formula = {
  name: "fingerprint",
  build: (x) => {
    const bits = x!.bits("u32");
    return bits.xor(bits.shr(15)).mul(0x9e3779b1).shr(24).to("f32");
  },
};

/**
 * A hash of f32 tensors that share a few storages, all of which it covers. What is read from the
 * device is small.
 */
async function fingerprint(tensors: () => Iterable<Tensor>): Promise<string> {
  const sums: Tensor[] = [];
  {
    using s = scope("fingerprint");
    const storages = new Map(Array.from(tensors(), (t) => [t.storage, t]));
    for (const [{ length }, t] of storages) {
      const whole = Math.floor(length / ROW);
      const rows = [
        ...(whole > 0 ? [t.as([whole, ROW], [ROW, 1], 0)] : []),
        ...(length % ROW > 0 ? [t.as([1, length % ROW], [length, 1], whole * ROW)] : []),
      ];
      for (const part of rows) {
        const sum = reduceKeep("fingerprint", "sum", MIXED, [part], [1]);
        sums.push(s.keep(reshaped(sum, [part.shape[0]!])));
      }
    }
  }
  try {
    const numbers = await Promise.all(sums.map((t) => t.data()));
    return await digest(Float64Array.from(numbers.flatMap((part) => [...part])));
  } finally {
    for (const t of sums) t.dispose();
  }
}

async function digest(values: ArrayBufferView<ArrayBuffer>): Promise<string> {
  const bytes = new Uint8Array(await crypto.subtle.digest("SHA-256", values));
  return bytes.slice(0, 8).toHex();
}
