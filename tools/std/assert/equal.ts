/** Structural equality as `assertEquals` means it. */

type Keyed = Record<PropertyKey, unknown>;

/** Prototypes whose instances are equal exactly when they print alike. */
const PRINTED = new Set<unknown>([RegExp.prototype, URL.prototype, URLSearchParams.prototype]);

function same(a: unknown, b: unknown): boolean {
  return a === b || Object.is(a, b);
}

function isObject(value: unknown): value is Keyed {
  return typeof value === "object" && value !== null;
}

/** An object's prototype, with `Object.create(null)` counted among the plain objects. */
function kind(value: object): unknown {
  return Object.getPrototypeOf(value) ?? Object.prototype;
}

function sameBytes(a: ArrayLike<unknown>, b: ArrayLike<unknown>): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (!same(a[i], b[i])) return false;
  return true;
}

/** Own keys and, for instances of classes, those of the prototypes too, so that getters count. */
function keysOf(value: object): Set<PropertyKey> {
  const plain = kind(value) === Object.prototype || kind(value) === Array.prototype;
  if (plain) return new Set(Reflect.ownKeys(value).filter((k) => isEnumerable(value, k)));
  const keys = new Set<PropertyKey>();
  for (
    let at: object | null = value;
    at !== null && at !== Object.prototype && at !== Array.prototype;
    at = Object.getPrototypeOf(at)
  ) {
    for (const key of Reflect.ownKeys(at)) keys.add(key);
  }
  return keys;
}

function isEnumerable(value: object, key: PropertyKey): boolean {
  return Object.prototype.propertyIsEnumerable.call(value, key);
}

/**
 * Whether two values have the same structure: `0` equals `-0`, `NaN` equals `NaN`, a key that holds
 * `undefined` differs from a missing one, and objects of two classes are never equal.
 *
 * @throws {TypeError} for a `WeakMap` or `WeakSet`, whose contents cannot be read
 */
export function equal(a: unknown, b: unknown): boolean {
  // Pairs being compared further up: meeting one again means the cycles run in step.
  const underway = new Map<object, object>();

  function compareKeyed(a: Map<unknown, unknown>, b: Map<unknown, unknown>): boolean {
    if (a.size !== b.size) return false;
    const rest = new Map(b);
    for (const [key, value] of a) {
      if (!isObject(key)) {
        if (!rest.has(key) || !compare(value, rest.get(key))) return false;
        rest.delete(key);
        continue;
      }
      const match = [...rest].find(([k, v]) => compare(key, k) && compare(value, v));
      if (match === undefined) return false;
      rest.delete(match[0]);
    }
    return true;
  }

  function compare(a: unknown, b: unknown): boolean {
    if (same(a, b)) return true;
    if (!isObject(a) || !isObject(b) || kind(a) !== kind(b)) return false;
    if (a instanceof Date && b instanceof Date) return same(a.getTime(), b.getTime());
    if (a instanceof WeakMap || a instanceof WeakSet) {
      throw new TypeError(
        `Cannot compare ${a instanceof WeakMap ? "WeakMap" : "WeakSet"} instances`,
      );
    }
    if (a instanceof WeakRef && b instanceof WeakRef) return compare(a.deref(), b.deref());
    if (ArrayBuffer.isView(a) && !(a instanceof DataView)) {
      return sameBytes(a as unknown as ArrayLike<unknown>, b as unknown as ArrayLike<unknown>);
    }
    if (a instanceof ArrayBuffer || a instanceof SharedArrayBuffer) {
      return sameBytes(new Uint8Array(a), new Uint8Array(b as unknown as ArrayBuffer));
    }
    if (underway.get(a) === b) return true;
    underway.set(a, b);
    if (Object.keys(a).length !== Object.keys(b).length) return false;
    if (a instanceof Map && b instanceof Map) return compareKeyed(a, b);
    if (a instanceof Set && b instanceof Set) {
      return compareKeyed(new Map(a.entries()), new Map(b.entries()));
    }
    if (PRINTED.has(kind(a))) return String(a) === String(b);
    for (const key of keysOf(a).union(keysOf(b))) {
      if (key in a !== key in b || !compare(a[key], b[key])) return false;
    }
    return true;
  }

  return compare(a, b);
}
