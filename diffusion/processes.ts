/**
 * Every process by its name, made of the settings that a checkpoint holds. A new process is a file
 * with its class, and a row here.
 */
import { createDiffusion, type DiffusionOptions } from "./create.ts";
import type { Process } from "./process.ts";

/** The name of a process. */
export type ProcessName = "gaussian";

/** What decides a process; each takes what concerns it. */
export type ProcessOptions = Pick<
  DiffusionOptions,
  "objective" | "noiseSchedule" | "diffusionSteps" | "learnSigma" | "minSnrGamma"
>;

/** A kind of process. */
export interface ProcessKind {
  /** What it is, in a few words, with its paper. */
  readonly help: string;
  /** Makes one. */
  create(options: ProcessOptions): Process;
}

/** Every process by its name. */
export const PROCESSES: Readonly<Record<ProcessName, ProcessKind>> = {
  gaussian: {
    help: "denoising diffusion (arXiv 2006.11239, 2102.09672)",
    create: (options) => createDiffusion(options),
  },
};

/** The names of all processes. */
export const PROCESS_NAMES: readonly ProcessName[] = Object.keys(PROCESSES) as ProcessName[];

/**
 * The process of a name.
 *
 * @throws {RangeError} where there is none, or a setting is out of range.
 */
export function createProcess(name: ProcessName, options: ProcessOptions = {}): Process {
  if (Object.hasOwn(PROCESSES, name)) return PROCESSES[name].create(options);
  throw new RangeError(
    `createProcess: expected process ${PROCESS_NAMES.join(", ")} but got ${name}`,
  );
}
