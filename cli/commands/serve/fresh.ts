/** What is read from the disk for many at once. */

/** How long what was read is as good as new, in milliseconds. */
const GOOD_FOR = 1000;

/** Something that takes long to read: read once for all who ask within a second. */
export class Fresh<T> {
  readonly #read: () => Promise<T>;
  readonly #goodFor: number;
  #value: Promise<T> | undefined;
  /** When it was read; infinite while it is. */
  #at = -Infinity;

  /** Reads nothing yet. */
  constructor(read: () => Promise<T>, goodFor: number = GOOD_FOR) {
    [this.#read, this.#goodFor] = [read, goodFor];
  }

  /** What was read last, or is read now. */
  get(): Promise<T> {
    if (performance.now() - this.#at < this.#goodFor) return this.#value!;
    this.#at = Infinity; // all who ask meanwhile wait for this one
    return this.#value = this.#read().then((value) => {
      this.#at = performance.now();
      return value;
    }, (error) => {
      this.#at = -Infinity;
      throw error;
    });
  }
}
