/** Debug mode: checks and records that cost too much to be always on. */
let debug = false;

/**
 * Remembers where every scope and tensor was made, reports leaks, and checks that kernels found by
 * a key are what would be compiled for it. Slow.
 */
export function setDebug(on: boolean): void {
  debug = on;
}

/** Whether debug mode is on. */
export function isDebug(): boolean {
  return debug;
}
