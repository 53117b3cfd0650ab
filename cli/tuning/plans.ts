/** Which plans the kernels of a GPU run by: a run's own, those measured before, or new ones. */
import { type Device, tune, type TuneOptions, usePlans } from "@dit/core/tensor";
import { fromRankZero } from "../distributed/share.ts";
import { ALONE, type World } from "../distributed/world.ts";
import { messageOf } from "../shared/errors.ts";
import { readTuneFile, writeTuneFile } from "./file.ts";
import { grantedTuneFolder, tuneFile } from "./folder.ts";
import { tuneModels } from "./models.ts";

/** For how long a GPU is measured when it is first used. */
export const FIRST_USE_SECONDS = 15;

/** How plans are chosen. */
export interface PlanChoice {
  /** Whether a GPU of which there are none is measured; true unless given. */
  readonly tune?: boolean | undefined;
  /**
   * Those that a run began with, as its checkpoint holds them: null where it began on a device
   * without any, undefined where it is from before there were any. Left out for a new run.
   */
  readonly remembered?: { readonly plans: unknown };
  /** Which implementation of WebGPU drives the GPU: each compiles kernels in its own way. */
  readonly gpu?: string | undefined;
}

/** What of it tests replace. */
export interface PlanTools {
  readonly folder: string | null;
  readonly tune: (options: TuneOptions, device: Device) => ReturnType<typeof tune>;
  readonly say: (line: string) => void;
}

/**
 * What measurements of a device are kept under: its GPU, and what drives it where that is not Deno;
 * null for programs on the CPU and for devices without variants.
 */
export function cardOf({ name, backend }: Device, gpu?: string): string | null {
  if (name !== "webgpu" || !("adapterName" in backend)) return null;
  if ("isSoftware" in backend && backend.isSoftware) return null;
  return `${backend.adapterName}${gpu === undefined || gpu === "deno" ? "" : `, ${gpu}`}`;
}

/**
 * Has the kernels of a device run by the plans that it is to have. All ranks have those of rank 0,
 * since they add up what they compute. Collective.
 */
export async function choosePlans(
  device: Device,
  world: World = ALONE,
  { tune: mayTune = true, remembered, gpu }: PlanChoice = {},
  tools: Partial<PlanTools> = {},
): Promise<void> {
  if (device.name !== "webgpu") return;
  const say = tools.say ?? ((line) => world.rank === 0 ? console.error(line) : undefined);
  const given = remembered?.plans;
  // A run from before plans were kept goes on by the built-in ones, which it began with.
  if (remembered && given === undefined) return;
  if (given !== undefined && given !== null) {
    return await use(
      device,
      given,
      say,
      (reason) => `the plans that the run began with cannot be read (${reason})`,
    );
  }
  const adapter = cardOf(device, gpu);
  if (adapter === null) return;
  const folder = tools.folder === undefined ? grantedTuneFolder() : tools.folder;
  const measure = tools.tune ?? tune;
  const plans = await fromRankZero(world, async () => {
    return await plansHere(device, adapter, { folder, tune: mayTune ? measure : null, say }) ??
      null;
  });
  if (plans === null) return;
  const from = folder === null ? "measured plans" : tuneFile(folder, adapter);
  await use(device, plans, say, (reason) => damagedText(from, reason));
}

function damagedText(path: string, reason: string): string {
  return `${path} is damaged (${reason}; deno task tune writes it anew)`;
}

/** Has a device run by plans that a file holds, and says what does not work out. */
async function use(
  device: Device,
  plans: unknown,
  say: (line: string) => void,
  damaged: (reason: string) => string,
): Promise<void> {
  try {
    const unfit = await usePlans(plans, device);
    if (unfit.length === 0) return;
    say(
      `this GPU cannot run ${unfit.length} of the measured plans: its built-in ones are used for ` +
        unfit.join(", "),
    );
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    say(`${damaged(error.message)}: the built-in plans are used`);
  }
}

/** Plans that are kept, or that are measured now and kept; undefined for the built-in ones. */
async function plansHere(
  device: Device,
  adapter: string,
  { folder, tune: measure, say }: {
    readonly folder: string | null;
    readonly tune: PlanTools["tune"] | null;
    readonly say: (line: string) => void;
  },
): Promise<unknown> {
  const found = folder === null ? { kind: "none" } as const : await readTuneFile(folder, adapter);
  if (found.kind === "plans") return found.plans;
  if (found.kind === "damaged") {
    say(`${damagedText(tuneFile(folder!, adapter), found.reason)}: the built-in plans are used`);
    return undefined;
  }
  if (measure === null) return undefined;
  if (folder === null || !mayWrite(folder)) {
    say(
      `tuning   left out, since ${folder ?? "the user's cache"} may not be written to: the ` +
        `built-in plans of kernels are used`,
    );
    return undefined;
  }
  say(
    `tuning   kernels for ${adapter}, once, for up to ${FIRST_USE_SECONDS} s (--no-tune leaves it ` +
      `out; deno task tune takes longer and measures more)`,
  );
  try {
    const { plans } = await measure(
      { models: tuneModels(["DiT-S/2", "DiT-Mini/4"], "f32"), seconds: FIRST_USE_SECONDS },
      device,
    );
    await writeTuneFile(folder, adapter, plans);
    return plans;
  } catch (error) {
    say(`tuning   failed (${messageOf(error)}): the built-in plans of kernels are used`);
    return undefined;
  }
}

function mayWrite(path: string): boolean {
  return Deno.permissions.querySync({ name: "write", path }).state === "granted";
}
