/**
 * Lifetimes. Every tensor belongs to the scope that was open when it was made, and is freed when
 * that scope closes, unless it is kept.
 */
import { isDebug } from "./debug.ts";
import { ScopeError } from "./errors.ts";

/** What a scope frees: tensors, and whatever else is made on the way (tapes). */
export interface Keepable {
  /** The scope that frees it; set by scopes only. */
  scope: Scope | null;
  /** Called once when the scope closes; must be harmless on a thing disposed of already. */
  dispose(): void;
}

/** What can outlive a scope: one thing, several, or several with names. */
export type Kept = Keepable | readonly Keepable[] | { readonly [name: string]: Keepable };

/** Its things, one by one. */
function thingsOf(kept: Kept): readonly Keepable[] {
  if (Array.isArray(kept)) return kept;
  return isKeepable(kept) ? [kept] : Object.values(kept ?? {}); // JavaScript may give nothing
}

function isKeepable(kept: Kept): kept is Keepable {
  return typeof (kept as Partial<Keepable> | undefined)?.dispose === "function";
}

/** Called with what leaves a scope, before the rest is freed. */
export type KeepHook = (kept: Keepable, from: Scope, to: Scope | null) => void;

let current: Scope | null = null;
let serial = 0;
const keepHooks: KeepHook[] = [];

/** Registers `hook` to be called with everything that leaves a scope. */
export function onKeep(hook: KeepHook): void {
  keepHooks.push(hook);
}

/**
 * Frees everything made inside it when it closes, except what is kept.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { init, memory, mul, scope, type Tensor, tensor } from "@dit/core";
 *
 * await init({ device: "wasm" });
 * function doubled(numbers: number[]): Tensor {
 *   using s = scope();
 *   const x = tensor(numbers); // freed at the end of the block
 *   return s.keep(mul(x, 2)); // the caller's from now on
 * }
 * using y = doubled([1, 2, 3]);
 * assertEquals(memory().tensors, 1);
 * assertEquals(await y.data(), Float32Array.of(2, 4, 6));
 * ```
 */
export class Scope implements Disposable {
  readonly #owned = new Set<Keepable>();
  #parent: Scope | null = current;
  readonly #label: string;
  #open = true;

  /** Use {@link scope}. */
  constructor(label?: string) {
    this.#label = label ?? `scope ${++serial}`;
    if (isDebug()) this.#label += `\n${new Error().stack?.split("\n").slice(3, 6).join("\n")}`;
    current = this;
  }

  /** Whether the scope has not closed yet. */
  get open(): boolean {
    return this.#open;
  }

  /** The scope around this one. */
  get parent(): Scope | null {
    return this.#parent;
  }

  /** What was made here and is still alive. */
  get owned(): ReadonlySet<Keepable> {
    return this.#owned;
  }

  /**
   * Lets things outlive this scope: they belong to the scope around it from now on, or to the
   * caller where there is none. Their gradient history goes with them. Returns what it was given.
   */
  keep<T extends Kept>(kept: T): T {
    for (const one of thingsOf(kept)) {
      if (!this.#owned.has(one)) continue; // belongs further out, or to no scope: it survives anyway
      for (const hook of keepHooks) hook(one, this, this.#parent);
      this.#owned.delete(one);
      one.scope = null;
      this.#parent?.adopt(one);
    }
    return kept;
  }

  /** Takes ownership of `thing`. */
  adopt(thing: Keepable): void {
    if (!this.#open) {
      throw new ScopeError(`scope: expected an open one for what is made but got ${this.#label}`);
    }
    this.#owned.add(thing);
    thing.scope = this;
  }

  /** Forgets `thing` without freeing it. */
  disown(thing: Keepable): void {
    this.#owned.delete(thing);
    thing.scope = null;
  }

  /**
   * Closes the scope and frees what it owns.
   *
   * @throws {ScopeError} where a scope opened inside it is still open: one was left open, or two
   * asynchronous tasks interleave and would free each other's tensors.
   */
  [Symbol.dispose](): void {
    if (!this.#open) return;
    this.#open = false;
    const inner: Scope[] = [];
    for (let s = current; s && s !== this; s = s.#parent) inner.push(s);
    const outermost = inner.at(-1);
    if (outermost) outermost.#parent = this.#parent; // the inner ones can still close
    else current = this.#parent;
    for (const thing of this.#owned) {
      thing.scope = null;
      thing.dispose();
    }
    this.#owned.clear();
    if (outermost) {
      throw new ScopeError(
        `${this.#label} closed while scopes opened after it were open (${
          inner.map((s) => s.#label).join(", ")
        }): expected the last one opened to close first; a scope was left open, or asynchronous ` +
          `tasks interleave, whose scopes must not span an await`,
      );
    }
  }
}

/**
 * Opens a scope: `using s = scope()` frees everything made until the end of the block, except what
 * `s.keep(...)` hands out.
 */
export function scope(label?: string): Scope {
  return new Scope(label);
}

/** The innermost open scope. */
export function currentScope(): Scope | null {
  return current;
}

/** Runs `fn` with no scope open, so that what it makes belongs to none (parameters, state). */
export function outsideScopes<T>(fn: () => T): T {
  const before = current;
  current = null;
  try {
    return fn();
  } finally {
    current = before;
  }
}
