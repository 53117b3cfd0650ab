/**
 * Every process by its name, made of the settings that a checkpoint holds. A new process is a file
 * with its class, and a row here.
 */
import { createDiffusion, type DiffusionOptions } from "./create.ts";
import { FLOW_OBJECTIVES, FlowMatching } from "./flow.ts";
import type { Objective } from "./predictions.ts";
import type { Process } from "./process.ts";

/** The name of a process. */
export type ProcessName = "gaussian" | "flow";

/** What decides a process; each takes what concerns it. */
export interface ProcessOptions extends
  Pick<
    DiffusionOptions,
    "objective" | "noiseSchedule" | "diffusionSteps" | "learnSigma" | "minSnrGamma"
  > {
  /** Moves the times of a flow; see `FlowOptions`. */
  timeShift?: number;
}

/** A kind of process. */
export interface ProcessKind {
  /** What it is, in a few words, with its paper. */
  readonly help: string;
  /** What its models can predict, the usual first; any {@link Objective} where it is missing. */
  readonly objectives?: readonly Objective[];
  /** What of the options concerns it; all where it is missing. */
  readonly takes?: readonly (keyof ProcessOptions)[];
  /** Makes one. */
  create(options: ProcessOptions): Process;
}

/** Every process by its name. */
export const PROCESSES: Readonly<Record<ProcessName, ProcessKind>> = {
  gaussian: {
    help: "denoising diffusion (arXiv 2006.11239)",
    takes: ["objective", "noiseSchedule", "diffusionSteps", "learnSigma", "minSnrGamma"],
    create: ({ timeShift: _, ...options }) => createDiffusion(options),
  },
  flow: {
    help: "straight lines, as SiT (arXiv 2401.08740)",
    objectives: FLOW_OBJECTIVES,
    takes: ["objective", "timeShift"],
    create: ({ objective, learnSigma, timeShift }) =>
      new FlowMatching({ objective, learnSigma, timeShift }),
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
