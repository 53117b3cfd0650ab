/** One call of a captured function: running it while its work is recorded, and replaying that. */
import {
  copy,
  type DeviceBuffer,
  empty,
  onDraw,
  outsideScopes,
  type RecordedWork,
  scope,
  type Shape,
  Storage,
  type Tensor,
  type WorkMemory,
} from "../tensor/mod.ts";
import { backwardFrom, changedInPlace } from "./backward.ts";
import { HalfWeights } from "./half_weights.ts";
import { autocast, autocastDtype, noGrad, withGrad } from "./modes.ts";
import type { Parameter } from "./parameter.ts";
import { addHandle, freeHistory, hold, recordSegment, valueOf } from "./tape.ts";

/** What is captured. */
export type CapturedFunction = (inputs: readonly Tensor[]) => readonly Tensor[];

/** Work of a call, in both directions. */
export interface RecordedCall {
  readonly forward: RecordedWork;
  /** Whether it can be replayed. */
  isBound: boolean;
  /** Of weights: the f16 copies that it uses and does not make, and those that it has to make. */
  readonly halves: Pick<HalfWeights, "borrowed" | "missed">;
  /** The results, row-major in storage of their own. */
  readonly outs: readonly Layout[];
  /** By what the gradients of the results are like. */
  readonly backward: Map<string, RecordedBackward>;
}

interface RecordedBackward {
  readonly work: RecordedWork;
  /** Those whose first gradient it writes. */
  readonly reached: readonly Parameter[];
}

interface Layout {
  readonly dtype: "f32" | "f16";
  readonly shape: Shape;
}

/** A call that is under way. */
export interface Call {
  readonly fn: CapturedFunction;
  readonly inputs: readonly Tensor[];
  readonly parameters: readonly Parameter[];
  /** Whether backward is to follow. */
  readonly withGrads: boolean;
  /** Called when nothing of it is left on the tape. */
  readonly onEnd: () => void;
}

/** What tensors are like to kernels: others with the same text can take their places. */
export function layoutsText(tensors: readonly (Tensor | null)[]): string {
  const buffers = tensors.map((t) => t?.storage.buffer);
  return tensors.map((t, i) => {
    if (t === null) return "none";
    const { dtype, shape, strides, offset, storage } = t;
    const which = buffers.indexOf(buffers[i]); // the first that shares its storage
    // whether indices are checked by the host or by the device
    const isChecked = storage.range ? "!" : "";
    return `${which}:${dtype}[${shape}]/${strides}+${offset}/${storage.length}${isChecked}`;
  }).join(" ");
}

/** Each once, in order. */
function buffersOf(tensors: readonly (Tensor | null)[]): DeviceBuffer[] {
  return [...new Set(tensors.filter((t) => t !== null).map((t) => t.storage.buffer))];
}

/**
 * Runs a call and records its work. Its results, and what was recorded, complete when `onEnd` is
 * called; null where the work of another call would be different work.
 *
 * @param memory What it is to be replayed in; without it, the record is to compare with.
 * @param fits Whether all is as it was when the call was made.
 */
export function recordCall(
  call: Call,
  memory: WorkMemory | undefined,
  fits: () => boolean,
): { outs: readonly Tensor[]; recorded: RecordedCall | null } {
  const { fn, inputs, parameters, withGrads, onEnd } = call;
  const { recorder } = inputs[0]!.device.backend;
  // What optimisers keep is of weights that are trained.
  const halves = new HalfWeights(withGrads);
  let own: readonly Tensor[] = [];
  const { lastSerial } = Storage;
  let draws = false;
  const stop = onDraw(() => draws = true);
  let forward: RecordedWork;
  try {
    forward = recorder!.record(() => {
      own = outsideScopes(() => {
        using s = scope("captured");
        const made = halves.within(() => fn(inputs));
        return s.keep(made.map((t) => s.owned.has(t) ? t : anotherHandle(t)));
      });
    }, memory);
  } catch (error) {
    halves.dispose(); // they would stay in the memory for good
    throw error;
  } finally {
    stop();
  }
  const isFresh = new Set(own.map((t) => t.storage)).size === own.length &&
    own.every(({ contiguous, size, storage }) => {
      return contiguous && size === storage.length && storage.serial > lastSerial;
    });
  const ends = hold([...inputs, ...own]);
  const recorded: RecordedCall = {
    forward,
    isBound: forward.bind(buffersOf(ends)),
    halves,
    outs: own.map(({ dtype, shape }) => ({ dtype, shape }) as Layout),
    backward: new Map(),
  };
  // replaying writes elsewhere, so that what lies in `memory` stays there
  const outs = memory
    ? own.map((t) => noGrad(() => copy(t)))
    : own.map((t) => t.as(t.shape, t.strides));
  const values = own.map((t) => valueOf(t));
  for (const t of own) t.dispose();
  const end = () => {
    freeHistory(values);
    for (const t of ends) t?.dispose();
    halves.dispose();
    onEnd();
  };
  const result = { outs, recorded: isFresh && !draws ? recorded : null };
  if (!withGrads || values.every((value) => value === undefined)) {
    end();
    return result;
  }
  recordSegment("captured", inputs, outs, parameters, {
    rerun: rerunOf(fn),
    shortcut(grads) {
      const missing = parameters.filter((p) => !p.grad);
      const run = () => halves.within(() => backwardFrom(values, grads));
      // what adds to the gradients of another call is not what writes the first ones
      if (!recorder!.isReady || !fits()) {
        run();
        return true;
      }
      const work = recorder!.record(run, memory);
      const all = [...ends, ...grads];
      recorded.isBound &&= work.bind(buffersOf(all));
      const reached = missing.filter((p) => p.grad);
      recorded.backward.set(layoutsText(all), { work, reached });
      return true;
    },
    onFree: end,
  });
  return result;
}

/** Whether two calls launched the same, and backward did. */
export function isSameCall(a: RecordedCall, b: RecordedCall): boolean {
  return a.forward.matches(b.forward) && a.backward.size === b.backward.size &&
    [...a.backward].every(([key, { work }]) => {
      const other = b.backward.get(key);
      return other !== undefined && work.matches(other.work);
    });
}

/** Whether what was recorded of backward still serves. */
interface Fitness {
  /** Whether all is as it was when the call was recorded. */
  readonly fits: () => boolean;
  /** Called where it serves. */
  readonly onServed: () => void;
  /** Called where it does not serve, so that the call is computed again. */
  readonly onMisfit: () => void;
}

/**
 * Replays a call, which is valid, with other inputs.
 *
 * @returns results.
 */
export function replayCall(
  { forward, outs: layouts, backward }: RecordedCall,
  { fn, inputs, parameters, withGrads, onEnd }: Call,
  { fits, onServed, onMisfit }: Fitness,
): readonly Tensor[] {
  const { device } = inputs[0]!;
  const outs = layouts.map(({ dtype, shape }) => empty(device, dtype, shape, "captured"));
  forward.replay(buffersOf([...inputs, ...outs]));
  if (!withGrads) {
    onEnd();
    return outs;
  }
  const ends = hold([...inputs, ...outs]);
  const versions = versionsOf(parameters);
  recordSegment("captured", inputs, outs, parameters, {
    rerun: rerunOf(fn),
    shortcut(grads) {
      for (const [{ storage, shape }, version] of versions) {
        if (storage.version !== version) throw changedInPlace(shape, "captured");
      }
      const all = [...ends, ...grads];
      const known = backward.get(layoutsText(all));
      if (!known?.work.isValid || !fits()) {
        onMisfit();
        return false;
      }
      known.work.replay(buffersOf(all));
      onServed();
      for (const p of known.reached) p.noteGrad();
      return true;
    },
    onFree() {
      for (const t of ends) t?.dispose();
      onEnd();
    },
  });
  return outs;
}

/** One parameter of each storage, and how often that had been changed. */
function versionsOf(parameters: readonly Parameter[]): [Parameter, number][] {
  const seen = new Set<Storage>();
  return parameters.flatMap((p) => {
    if (seen.has(p.storage)) return [];
    seen.add(p.storage);
    return [[p, p.storage.version]];
  });
}

/** Computes it on the tape, in the precision that it is called in now. */
function rerunOf(fn: CapturedFunction): (inputs: readonly Tensor[]) => readonly Tensor[] {
  const precision = autocastDtype();
  return (inputs) => withGrad(() => autocast(precision, () => fn(inputs)));
}

/** Of a result that was there before, such as an input that is given back: the caller keeps its own. */
function anotherHandle(t: Tensor): Tensor {
  const handle = t.as(t.shape, t.strides);
  const value = valueOf(t);
  if (value) addHandle(handle, value);
  return handle;
}
