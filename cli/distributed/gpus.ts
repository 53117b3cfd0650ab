/**
 * A GPU for each rank. WebGPU has no say in which of several it gives, so it is the graphics system
 * that has to be told, before it is first asked for a GPU: on Linux by Vulkan's layer of Mesa's,
 * which knows the cards of all makers by their place on the PCI bus. CUDA_VISIBLE_DEVICES does not
 * act on Vulkan. Where a scheduler gives each rank a GPU of its own, nothing has to be done.
 */
import { CommandError } from "../shared/errors.ts";
import type { World } from "./world.ts";
import { pciGpus } from "./vulkan.ts";

/** The GPUs that a rank sees. */
export interface SeenGpus {
  /** The machine, by any number that its ranks alone have. */
  readonly machine: number;
  /** Places on the bus, such as `pci-0000_3b_00_0`; null where the system does not tell. */
  readonly gpus: readonly string[] | null;
}

/** The variable that lets ranks share a GPU. */
const SHARE_VARIABLE = "DIT_SHARE_GPU";

const ADVICE = `start as many ranks a machine as it has GPUs, or compute with --device wasm ` +
  `(${SHARE_VARIABLE}=1 lets ranks share a GPU, which is slower than one rank)`;

/**
 * The GPU of each rank, none twice on a machine; null for ranks of which nothing is known, and on
 * machines without GPUs.
 *
 * @throws {CommandError} where a machine has more ranks than GPUs.
 */
export function assignGpus(all: readonly SeenGpus[]): (string | null)[] {
  const taken = new Set<string>();
  return all.map(({ machine, gpus }) => {
    if (gpus === null || gpus.length === 0) return null;
    const free = gpus.find((gpu) => !taken.has(`${machine} ${gpu}`));
    if (free === undefined) {
      const ranks = all.filter((its) => its.machine === machine).length;
      throw new CommandError(
        `a machine has ${ranks} ranks, which see ${gpus.length} GPU${
          gpus.length === 1 ? "" : "s"
        }: expected a GPU for each; ${ADVICE}`,
      );
    }
    taken.add(`${machine} ${free}`);
    return free;
  });
}

/**
 * Has the graphics system give this rank a GPU of its own. Collective; to be called before WebGPU
 * is first asked for a GPU. A rank that is alone on its machine
 * takes what the system prefers.
 *
 * @throws {CommandError} where there are more ranks than GPUs, or where the system cannot be told.
 */
export async function takeGpu(world: World): Promise<void> {
  if (world.size === 1 || Deno.env.get(SHARE_VARIABLE) === "1") return;
  const own: SeenGpus = { machine: world.machine, gpus: pciGpus() };
  const all = await world.allGather(new TextEncoder().encode(JSON.stringify(own)));
  const text = new TextDecoder();
  const mine = assignGpus(all.map((bytes) => JSON.parse(text.decode(bytes))))[world.rank]!;
  if (mine === null || own.gpus!.length === 1 || world.localSize === 1) return;
  Deno.env.set("DRI_PRIME", mine);
  Deno.env.set("MESA_VK_DEVICE_SELECT_FORCE_DEFAULT_DEVICE", "1");
  Deno.env.delete("NODEVICE_SELECT"); // which turns the layer off
  const left = pciGpus();
  if (left?.length === 1 && left[0] === mine) return;
  throw new CommandError(
    `this machine has ${own.gpus!.length} GPUs, but Vulkan cannot be told to use ${mine} alone: ` +
      `install Mesa's layer for it (Debian: mesa-vulkan-drivers), or let the scheduler give each ` +
      `rank one GPU (Slurm: --gpus-per-task=1)`,
  );
}

/**
 * Refuses ranks that would share a GPU of which nothing was known before it was opened, as on
 * systems without Vulkan. Collective, after {@linkcode takeGpu}.
 *
 * @param isHardware Whether this rank computes on a GPU, rather than on a program that acts as one.
 * @throws {CommandError} where they would.
 */
export async function refuseSharedGpu(world: World, isHardware: boolean): Promise<void> {
  if (world.size === 1 || Deno.env.get(SHARE_VARIABLE) === "1") return;
  const blind = Int32Array.of(isHardware && world.localSize > 1 && pciGpus() === null ? 1 : 0);
  await world.allReduce(blind, "max");
  if (blind[0] === 0) return;
  throw new CommandError(
    `${world.localSize} ranks of a machine would share its GPU, as this system does not say which ` +
      `there are; ${ADVICE}`,
  );
}
