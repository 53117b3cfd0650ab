/**
 * Functions of tensors whose work a device records and then does again without the host's part in
 * it, as CUDA graphs do: replaying a launch takes the host a fraction of the time of making it.
 */
import { borrowAgain } from "./half_weights.ts";
import { requiresGrad } from "./tape.ts";
import { autocastDtype, isRecording } from "./modes.ts";
import type { Parameter } from "./parameter.ts";
import {
  type Call,
  type CapturedFunction,
  isSameCall,
  layoutsText,
  recordCall,
  type RecordedCall,
  replayCall,
} from "./recorded_call.ts";
import type { Storage, Tensor, WorkMemory } from "../tensor/mod.ts";

/** What a captured function computes with, beside its inputs. */
export interface CapturedParts {
  /** All parameters that it uses. */
  readonly parameters: () => readonly Parameter[];
  /** Whatever else decides what it launches, as text. */
  readonly state?: () => string;
}

/** Calls that are alike. */
interface Entry {
  /** What there was when the first of them was made. */
  readonly parameters: readonly Parameter[];
  readonly storages: readonly Storage[];
  readonly flags: readonly number[];
  readonly withGrads: boolean;
  /** How many of them were recorded. */
  recorded: number;
  /** The last one that was. */
  last: RecordedCall | null;
  /** What is replayed: launches of two calls in a row were the same. */
  ready: RecordedCall | null;
  /** Calls that backward reached as replays of it. */
  served: number;
}

/** Kinds of calls that are remembered at a time. */
const MOST_ENTRIES = 8;
/** Calls of a kind that are recorded at most: one whose launches vary is not worth more. */
const MOST_RECORDED = 6;

/**
 * A function whose work is recorded where the device can do that: the first call is noted, the
 * second, which has to launch the same with the same numbers, is recorded, and later ones replay
 * the record with their own inputs and results. So does backward. A call that differs in anything
 * that launches depend on (shapes, precision, which gradients there are, where parameters lie) is
 * of a kind of its own, and runs as if nothing had been recorded until it has been twice. What a call
 * cannot know before, backward may find: then the call is computed again. All results are the same,
 * bit for bit.
 *
 * What lies between inputs and results has memory of its own until `dispose()`.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { Captured, init, nn, randn, scope } from "@dit/core";
 *
 * await init({ device: "wasm" });
 * using _ = scope();
 * using mlp = new nn.Mlp(8, 32);
 * const parameters = mlp.parameters();
 * using captured = new Captured(([x]) => [mlp.forward(x!)], { parameters: () => parameters });
 * const [y] = captured.call([randn([4, 8])]);
 * assertEquals(y!.shape, [4, 8]);
 * ```
 */
export class Captured implements Disposable {
  readonly #fn: CapturedFunction;
  readonly #parts: CapturedParts;
  readonly #entries = new Map<string, Entry>();
  /** Of calls, and of those that are made before backward has reached another. */
  readonly #memories = new Map<"first" | "second", WorkMemory>();
  /** Calls that backward has not reached. */
  #pending = 0;

  /**
   * Records nothing yet.
   *
   * @param fn Computes the same whenever it is called again: from its inputs, from parameters, and
   * from what does not change. It draws no random numbers (one that does is never replayed), and
   * indices among its inputs were checked where the host knows them.
   */
  constructor(fn: CapturedFunction, parts: CapturedParts) {
    this.#fn = fn;
    this.#parts = parts;
  }

  /** The function's results. */
  call(inputs: readonly Tensor[]): readonly Tensor[] {
    const { recorder } = inputs[0]!.device.backend;
    if (!recorder?.isReady || inputs.some(requiresGrad)) return this.#fn(inputs);
    const parameters = this.#parts.parameters();
    const withGrads = isRecording() && parameters.some((p) => p.requiresGrad);
    const isFirst = this.#pending === 0;
    // there is one memory for what backward needs
    if (withGrads && !(isFirst && parameters.every(hasPlace))) return this.#fn(inputs);
    const place = isFirst ? "first" : "second";
    const modes = withGrads ? `${parameters.filter((p) => p.grad).length} gradients` : "";
    const state = [place, modes, autocastDtype(), this.#parts.state?.()].join();
    const entry = this.#entryOf(
      `${state} ${layoutsText(inputs)}`,
      parameters,
      withGrads,
    );
    const call = { fn: this.#fn, inputs, parameters, withGrads };
    if (entry.ready) return this.#replay(entry, entry.ready, call, this.#memories.get(place)!);
    // Where there are other f16 copies now, launches differ and need not differ again.
    if (entry.last && !borrowAgain(entry.last.halves)) {
      entry.last = null;
      entry.recorded = 0;
    }
    if (entry.recorded === MOST_RECORDED) return this.#fn(inputs);
    if (entry.recorded > 0 && !this.#memories.has(place)) {
      this.#memories.set(place, recorder.newMemory());
    }
    return this.#record(entry, call, this.#memories.get(place));
  }

  /** Calls of a kind; none so far where something is not as it was. */
  #entryOf(key: string, parameters: readonly Parameter[], withGrads: boolean): Entry {
    const known = this.#entries.get(key);
    if (known && isAsBefore(known, parameters)) return known;
    if (!known && this.#entries.size >= MOST_ENTRIES && this.#pending === 0) this.forget();
    const entry: Entry = {
      parameters: [...parameters],
      storages: parameters.map((p) => p.storage),
      flags: parameters.map((p) => flagsOf(p, withGrads)),
      withGrads,
      recorded: 0,
      last: null,
      ready: null,
      served: 0,
    };
    this.#entries.set(key, entry);
    return entry;
  }

  #record(
    entry: Entry,
    call: Omit<Call, "onEnd">,
    memory: WorkMemory | undefined,
  ): readonly Tensor[] {
    const used = entry.recorded++ > 0 ? memory : undefined;
    if (call.withGrads) this.#pending++;
    let isOver = false;
    let found: RecordedCall | null | undefined;
    const onEnd = () => {
      isOver = true;
      if (call.withGrads) this.#pending--;
      if (found !== undefined) settle();
    };
    const settle = () => {
      const { last } = entry;
      const isWhole = found && (!call.withGrads || found.backward.size > 0);
      if (!found) entry.recorded = MOST_RECORDED;
      else if (isWhole) {
        entry.last = found;
        if (used?.isIdle && last && found.isBound && isSameCall(found, last)) entry.ready = found;
      }
    };
    try {
      const fits = () => isAsBefore(entry, call.parameters);
      const { outs, recorded } = recordCall({ ...call, onEnd }, used, fits);
      found = recorded;
      if (isOver) settle();
      return outs;
    } catch (error) {
      if (call.withGrads && !isOver) this.#pending--;
      throw error;
    }
  }

  #replay(
    entry: Entry,
    ready: RecordedCall,
    call: Omit<Call, "onEnd">,
    memory: WorkMemory,
  ): readonly Tensor[] {
    // Others needed its memory, weights were loaded, or an optimiser keeps f16 copies now: it is
    // recorded again.
    if (!ready.forward.isValid || !borrowAgain(ready.halves)) {
      entry.ready = entry.last = null;
      entry.recorded = 0;
      return this.#fn(call.inputs);
    }
    if (call.withGrads) this.#pending++;
    memory.lock(); // without gradients, too: results take memory before they are computed in it
    const onEnd = () => {
      if (call.withGrads) this.#pending--;
      memory.unlock();
    };
    try {
      return replayCall(ready, { ...call, onEnd }, {
        fits: () => isAsBefore(entry, call.parameters),
        onServed: () => entry.served++,
        onMisfit: () => {
          // one that was replayed more often than recorded is worth recording again
          if (entry.served > MOST_RECORDED) entry.recorded = 0;
          entry.ready = entry.last = null;
          entry.served = 0;
        },
      });
    } catch (error) { // such as an index out of range: nothing is on the tape
      onEnd();
      throw error;
    }
  }

  /** Forgets what was recorded, and gives its memory back. */
  forget(): void {
    for (const memory of this.#memories.values()) memory.dispose();
    this.#memories.clear();
    this.#entries.clear();
  }

  /** As `forget()`. */
  dispose(): void {
    this.forget();
  }
  /** `using captured = ...` frees at the end of the block. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** Whether the gradient of a parameter is written where an optimiser has set a place aside. */
function hasPlace(p: Parameter): boolean {
  return !p.requiresGrad || p.isGradBound;
}

/** Whether it is trained, and whether there is a gradient that is added to; 0 without backward. */
function flagsOf(p: Parameter, withGrads: boolean): number {
  return withGrads ? (p.requiresGrad ? 1 : 0) + (p.grad ? 2 : 0) : 0;
}

function isAsBefore(entry: Entry, now: readonly Parameter[]): boolean {
  const { parameters, storages, flags, withGrads } = entry;
  if (now.length !== parameters.length) return false;
  for (let i = 0; i < now.length; i++) {
    const p = now[i]!;
    const isSame = p === parameters[i] && p.storage === storages[i] &&
      flagsOf(p, withGrads) === flags[i];
    if (!isSame) return false;
  }
  return true;
}
