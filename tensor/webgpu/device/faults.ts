/**
 * What went wrong on the device. WebGPU reports most errors some time after the call that caused
 * them; they are kept here until the next call that can fail reports the first.
 */
import { DeviceError, DeviceLostError, OutOfMemoryError } from "../../errors.ts";

const REMEMBERED_OPS = 8;

export class Faults {
  #lost: string | null = null;
  #first: Error | null = null;
  #recentOps: string[] = [];
  #at = 0;
  readonly #onError: (event: GPUUncapturedErrorEvent) => void;

  constructor(readonly device: GPUDevice) {
    this.#onError = (event): void => {
      event.preventDefault();
      const { error } = event;
      // By name: the error may be of another WebGPU than the runtime's own.
      const isMemory = error.constructor.name === "GPUOutOfMemoryError";
      const kind = isMemory ? OutOfMemoryError : DeviceError;
      this.#first ??= new kind(`${error.message.trim()} (the last ops were ${this.#opNames()})`);
    };
    device.addEventListener("uncapturederror", this.#onError as EventListener);
    device.lost.then((info) => {
      this.#lost ??= `the GPU was lost (${info.reason || "unknown"}): ${info.message}`;
    });
  }

  #opNames(): string {
    const { length } = this.#recentOps;
    const ordered = this.#recentOps.map((_, i) => this.#recentOps[(this.#at + i) % length]!);
    return ordered.join(", ") || "none";
  }

  /** Notes the op being recorded, to name it should it fail. */
  recall(op: string): void {
    this.#recentOps[this.#at] = op;
    this.#at = (this.#at + 1) % REMEMBERED_OPS;
  }

  /** Marks the device as gone, by `dispose()` say. */
  lose(reason: string): void {
    this.#lost ??= reason;
  }

  /** Whether the device is gone. */
  get isLost(): boolean {
    return this.#lost !== null;
  }

  /** Keeps `error` for the next report, unless one waits already. */
  add(error: Error): void {
    this.#first ??= error;
  }

  /** Throws DeviceLostError where the device is gone. */
  checkLost(op: string): void {
    if (this.#lost !== null) throw new DeviceLostError(`${op}: ${this.#lost}`);
  }

  /** Throws the first error since the last report, if there was one. */
  report(op: string): void {
    this.checkLost(op);
    const error = this.#first;
    this.#first = null;
    if (error) throw error;
  }
}
