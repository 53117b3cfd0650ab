/** Bodies of answers that are read from the disk: few at a time, for readers that go on reading. */

/** How long a reader may leave what is there for it, in milliseconds. */
const PATIENCE = 60_000;

/** As many at a time as there are permits; others wait. */
export class Permits {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  /** @param count How many there are. */
  constructor(count: number) {
    this.#free = count;
  }

  /** Waits for a permit, which is given back by disposing of it. */
  async take(): Promise<Disposable> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    return {
      [Symbol.dispose]: () => {
        const next = this.#waiting.shift();
        if (next) next();
        else this.#free++;
      },
    };
  }
}

/**
 * Parts as a stream that reads one when it is asked for it, and ends in an error where nobody asks
 * for long, so that what is behind it is closed.
 */
export function patientStream(
  parts: AsyncIterable<Uint8Array<ArrayBuffer>>,
  patience: number = PATIENCE,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  const iterator = parts[Symbol.asyncIterator]();
  let timer: ReturnType<typeof setTimeout> | undefined;
  return new ReadableStream({
    async pull(controller) {
      clearTimeout(timer);
      const { done, value } = await iterator.next();
      if (done) return controller.close();
      controller.enqueue(value);
      timer = setTimeout(() => {
        controller.error(new Error("the reader has not read for long"));
        iterator.return?.();
      }, patience);
    },
    async cancel() {
      clearTimeout(timer);
      await iterator.return?.();
    },
  }, { highWaterMark: 0 });
}
