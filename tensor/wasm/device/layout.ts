/**
 * Where things lie at the bottom of the shared memory. Host, workers and kernels agree on these
 * byte addresses; everything from `HEAP_START` on belongs to the allocator.
 *
 * Words that different threads write are 128 bytes apart, so that none shares a cache line (or the
 * pair of lines that prefetchers fetch together) with another.
 */

/** i32, zeroed before every launch: kernels claim pieces of work from it with `atomicAdd`. */
export const COUNTER = 128;
/** i32: how many workers have finished the running launch. */
export const DONE = 256;
/** i32: 1 + the thread whose kernel failed first in the running launch, else 0. */
export const FAILED = 384;
/** i32 byte length, then UTF-8 text: the message of that failure. */
export const FAILURE_TEXT = 388;
export const FAILURE_TEXT_BYTES = 124 - 8;
/** i32: 1 + a thread that has ended without having been stopped, else 0. */
export const DIED = 768;
/** i32: 1 asks the workers to end. */
export const STOP = 512;
/** The running launch: five i32, see `LAUNCH_FIELDS`. */
export const LAUNCH = 640;
/** Fields of the launch, counted in words; `moduleBytes` is 0 where nothing is staged. */
export const LAUNCH_FIELDS = {
  module: 0,
  export: 1,
  moduleBytes: 2,
  threads: 3,
  scratchStride: 4,
} as const;
/** f64: address of thread 0's scratch; each further thread's lies `scratchStride` beyond. */
export const SCRATCH_BASE = LAUNCH + 64;

/** One i32 a thread, `MAILBOX_STRIDE` apart: the number of launches it was called to. */
export const MAILBOXES = 1024;
export const MAILBOX_STRIDE = 128;
/** The most threads: there is a mailbox for each. */
export const MAX_THREADS = 256;

/** Slots of f64 that the host fills with a kernel's arguments. */
export const ARGS = MAILBOXES + MAX_THREADS * MAILBOX_STRIDE;
export const MAX_ARGS = 2048;

/**
 * Bytes of a module on its way to workers that have not seen it. A worker blocked in
 * `Atomics.wait` receives no messages, so modules travel through memory.
 */
export const STAGING = ARGS + MAX_ARGS * 8;
export const STAGING_BYTES = 1 << 20;

export const PAGE_BYTES = 65536;
/** First byte of the heap. */
export const HEAP_START = Math.ceil((STAGING + STAGING_BYTES) / PAGE_BYTES) * PAGE_BYTES;
