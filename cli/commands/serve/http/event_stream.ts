/** The answer to a request to sample: a stream of events, of which a slow reader misses some. */
import { encodeFrame, type WireEvent } from "@dit/web";

/** How long a reader may leave what is there for it, in milliseconds. */
const PATIENCE = 60_000;

/** Events for one reader: what was not read yet gives way to what is newer, but for the last one. */
export class EventStream {
  /** The body of the answer. */
  readonly body: ReadableStream<Uint8Array<ArrayBuffer>>;
  #controller!: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>;
  #event: WireEvent | undefined;
  #isLast = false;
  /** Whether the reader waits for something. */
  #wanted: (() => void) | undefined;
  #isClosed = false;
  #patience: ReturnType<typeof setTimeout> | undefined;
  readonly #wait: number;
  readonly #lose: () => void;

  /**
   * Begins the answer.
   *
   * @param onGone Called where the reader is gone, or has not read for long, before the end.
   */
  constructor(onGone: () => void, patience: number = PATIENCE) {
    this.body = new ReadableStream({
      start: (controller) => {
        this.#controller = controller;
      },
      pull: () => {
        if (this.#deliver()) return;
        if (this.#isLast) { // all was read
          this.#close();
          return this.#controller.close();
        }
        return new Promise<void>((resolve) => this.#wanted = resolve);
      },
      cancel: () => {
        this.#close();
        onGone();
      },
    }, { highWaterMark: 0 });
    this.#wait = patience;
    this.#lose = () => {
      this.#close();
      this.#controller.error(new Error("the reader has not read for long"));
      onGone();
    };
  }

  /** Whether something has not been read yet. */
  get isBehind(): boolean {
    return this.#event !== undefined;
  }

  /** Sends an event, or lets it wait in the place of the one that was not read. */
  send(event: WireEvent): void {
    if (this.#isClosed || this.#isLast) return;
    const waiting = this.#event;
    this.#event = event.kind === "step" && waiting?.kind === "step" && !event.pictures &&
        waiting.pictures
      ? { ...event, pictures: waiting.pictures }
      : event;
    this.#next();
  }

  /** Sends the last event. */
  end(event: WireEvent): void {
    if (this.#isClosed || this.#isLast) return;
    [this.#event, this.#isLast] = [event, true];
    this.#next();
  }

  #next(): void {
    if (this.#wanted) {
      const wanted = this.#wanted;
      this.#wanted = undefined;
      this.#deliver();
      wanted();
    } else {
      this.#patience ??= setTimeout(this.#lose, this.#wait);
    }
  }

  /** Hands over what there is; returns false where there is nothing. */
  #deliver(): boolean {
    clearTimeout(this.#patience);
    this.#patience = undefined;
    if (this.#event === undefined) return false;
    this.#controller.enqueue(encodeFrame(this.#event));
    this.#event = undefined;
    if (this.#isLast) this.#patience = setTimeout(this.#lose, this.#wait);
    return true;
  }

  #close(): void {
    clearTimeout(this.#patience);
    [this.#isClosed, this.#event, this.#wanted] = [true, undefined, undefined];
  }
}
