/** What the server and the thread that samples say to each other. */
import type { SampleEvent, SampleRequest } from "@dit/web";
import type { DEVICES, GPUS } from "../../shared/device.ts";
import type { ModelPlace } from "./models.ts";

/** How the thread samples, whatever is asked for. */
export interface WorkerSettings {
  readonly device: typeof DEVICES[number];
  readonly gpu: typeof GPUS[number];
  readonly dtype: "f32" | "f16";
  /** Whether a GPU that is used first is measured; true unless given. */
  readonly tune?: boolean;
}

/** To the thread: open the device, for what may come; nothing but `device` is said of it. */
export interface WorkerOpening {
  readonly kind: "open";
  readonly settings: WorkerSettings;
}

/** To the thread: something to sample. One at a time. */
export interface WorkerJob {
  readonly kind: "sample";
  readonly settings: WorkerSettings;
  readonly model: ModelPlace;
  /** What changes when its weights do: a run's best checkpoint is written over. */
  readonly version: string;
  /** Bytes of its weights, for how far loading is. */
  readonly bytes: number;
  readonly request: SampleRequest;
  /** See {@linkcode CONTROL}; shared. */
  readonly control: Int32Array<SharedArrayBuffer>;
}

/** Places of a job's shared numbers, 0 or 1: what the thread reads between steps. */
export const CONTROL = { isCancelled: 0, wantsPreview: 1 } as const;

/** From the thread: how a job goes. The last three kinds end it. */
export type WorkerMessage =
  /** What computes. */
  | { readonly kind: "device"; readonly device: string }
  | { readonly kind: "event"; readonly event: Exclude<SampleEvent, { kind: "queued" | "done" }> }
  | { readonly kind: "done"; readonly event: Extract<SampleEvent, { kind: "done" }> }
  | { readonly kind: "cancelled" }
  /**
   * Why not; for people unless it is a bug, then with its stack. `isUnfit` where the device gives
   * wrong numbers in the fast tier.
   */
  | {
    readonly kind: "failed";
    readonly message: string;
    readonly isBug: boolean;
    readonly isUnfit: boolean;
  };
