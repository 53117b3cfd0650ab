/** The modes that ops run in: whether to record, and in which precision to compute. */
let recording = true;
let castTo: "f16" | null = null;

/** Whether ops put themselves on the tape. */
export function isRecording(): boolean {
  return recording;
}

/** The dtype that heavy ops compute in; null outside autocast. */
export function autocastDtype(): "f16" | null {
  return castTo;
}

function refusePromise<T>(name: string, result: T): T {
  if (result instanceof Promise) {
    throw new TypeError(
      `${name}: expected a synchronous function but it returned a promise; await outside of it`,
    );
  }
  return result;
}

/**
 * Runs `fn` without recording: no gradients flow through what it computes.
 *
 * @param fn Synchronous: a switch held over an await would change what other tasks do.
 */
export function noGrad<T>(fn: () => T): T {
  const before = recording;
  recording = false;
  try {
    return refusePromise("noGrad", fn());
  } finally {
    recording = before;
  }
}

/** Runs `fn` with recording on, also inside noGrad. */
export function withGrad<T>(fn: () => T): T {
  const before = recording;
  recording = true;
  try {
    return refusePromise("withGrad", fn());
  } finally {
    recording = before;
  }
}

/**
 * Runs `fn` in mixed precision: matrix products, convolutions and attention take f16 copies of
 * their operands and store f16, with sums in f32; losses and reductions are f32; other ops take
 * what they are given, widened to f32 where the operands differ. Weights stay f32, and gradients
 * arrive there as f32.
 *
 * @param dtype null switches it off inside.
 * @param fn Synchronous.
 */
export function autocast<T>(dtype: "f16" | null, fn: () => T): T {
  if (dtype !== "f16" && dtype !== null) {
    throw new RangeError(`autocast: expected f16 or null but got ${dtype}`);
  }
  const before = castTo;
  castTo = dtype;
  try {
    return refusePromise("autocast", fn());
  } finally {
    castTo = before;
  }
}
