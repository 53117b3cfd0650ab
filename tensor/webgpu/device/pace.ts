/**
 * How long work takes the GPU: estimated when it is recorded, measured whenever it is known to be
 * done. From it follow how much is submitted at once (systems reset a GPU whose program runs for
 * about 2 seconds, Windows after exactly that), where one launch is cut into several, and how far
 * the host may run ahead.
 *
 * Work is counted in seconds of an assumed slow GPU: an integrated one of a laptop at the
 * efficiency of a convolution. What is measured is how many times faster the real one is.
 */
import { DTYPE_BYTES } from "../../dtype.ts";
import type { Dispatch } from "./dispatch.ts";

const FLOPS_A_SECOND = 1e11;
const BYTES_A_SECOND = 1e10;
const SECONDS_A_LAUNCH = 5e-6;

/** The most work handed to the GPU at once, in seconds: a twentieth of what Windows allows. */
const SUBMIT_SECONDS = 0.1;
/** The most work that is submitted and not done when `WebGpuRuntime.ready()` has been awaited. */
const AHEAD_SECONDS = 1;
/** Submits are held by the system until they are done; Metal allows 2,048 of them. */
const AHEAD_SUBMITS = 1024;
/** A wait at least this often shows how fast the GPU is; each costs about 10 ms in Deno. */
const MEASURE_SECONDS = 2;
/** Nothing below this says anything: a wait alone takes 10 ms. */
const SHORTEST_MEASURED = 0.02;
const [SLOWEST, FASTEST] = [1e-3, 1e4];

/** A moment in the order of submits. */
export interface Mark {
  /** All work submitted until then. */
  readonly work: number;
  readonly submits: number;
  /** When the host began to wait for it, in ms. */
  readonly waitFrom: number;
}

/** Estimates, and what has been measured of them. */
export class Pace {
  /** How many times faster the GPU is than the assumed one. */
  #speed = 1;
  #submitted = { work: 0, submits: 0 };
  #done = { work: 0, submits: 0 };
  /** When the GPU began with what is not known to be done, in ms. */
  #begun = 0;

  constructor(
    /** For tests: cut and submit as if this were the most that may be handed over at once. */
    readonly submitSeconds: number = SUBMIT_SECONDS,
    readonly now: () => number = () => performance.now(),
  ) {}

  /** Work of one launch, in seconds of the assumed GPU. */
  workOf(d: Dispatch): number {
    let bytes = 0;
    for (const { view } of d.views) {
      let length = DTYPE_BYTES[view.dtype];
      for (let i = 0; i < view.shape.length; i++) {
        if (view.strides[i] !== 0) length *= view.shape[i]!;
      }
      bytes += length;
    }
    return (d.flops ?? 0) / FLOPS_A_SECOND + bytes / BYTES_A_SECOND + SECONDS_A_LAUNCH;
  }

  /** Work that may be submitted at once. */
  get submitWork(): number {
    return this.submitSeconds * this.#speed;
  }

  /** Workgroups of a launch that may be submitted at once, of all of them. */
  partOf(workgroups: number, work: number): number {
    const most = this.submitWork;
    return work <= most ? workgroups : Math.max(1, Math.floor(workgroups * most / work));
  }

  /** Notes that `work` is handed to the GPU. */
  submit(work: number): void {
    if (this.#done.submits === this.#submitted.submits) this.#begun = this.now();
    this.#submitted.work += work;
    this.#submitted.submits++;
  }

  /** Whether the host should wait before it records more. */
  get ahead(): boolean {
    const submits = this.#submitted.submits - this.#done.submits;
    if (submits === 0) return false;
    const seconds = (this.#submitted.work - this.#done.work) / this.#speed;
    return seconds > AHEAD_SECONDS || submits > AHEAD_SUBMITS ||
      this.now() - this.#begun > MEASURE_SECONDS * 1000;
  }

  /** All that has been submitted so far: to be taken when a wait for it begins. */
  mark(): Mark {
    return { ...this.#submitted, waitFrom: this.now() };
  }

  /** Notes that everything up to `mark` is done. */
  done(mark: Mark): void {
    if (mark.submits <= this.#done.submits) return;
    const now = this.now();
    const seconds = (now - this.#begun) / 1000;
    const speed = clamp((mark.work - this.#done.work) / Math.max(seconds, 1e-4));
    if (speed > this.#speed) {
      // It did this much while the host may have been slow to record it: it is this fast or faster.
      this.#speed = speed;
    } else if (seconds > SHORTEST_MEASURED && now - mark.waitFrom > seconds * 500) {
      // The host waited most of the time, so the GPU was busy.
      this.#speed = speed;
    }
    this.#done = { work: mark.work, submits: mark.submits };
    this.#begun = now;
  }
}

function clamp(speed: number): number {
  return Math.min(FASTEST, Math.max(SLOWEST, speed));
}
