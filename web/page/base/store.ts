/** A value that others are told of when it is another one. */
export class Store<T> {
  #value: T;
  readonly #listeners = new Set<(value: T) => void>();

  /** With a first value. */
  constructor(value: T) {
    this.#value = value;
  }

  /** What it is now. */
  get value(): T {
    return this.#value;
  }

  /** Sets it, and tells the listeners, unless it is the same. */
  set(value: T): void {
    if (Object.is(value, this.#value)) return;
    this.#value = value;
    for (const listener of [...this.#listeners]) listener(value);
  }

  /** Calls `listener` now, and whenever the value is another one. */
  watch(listener: (value: T) => void): void {
    this.#listeners.add(listener);
    listener(this.#value);
  }
}
