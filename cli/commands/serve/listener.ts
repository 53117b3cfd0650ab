/** Listening that goes on: Deno's own server ends for good where there are too many connections. */
import { messageOf } from "../../shared/errors.ts";

/** What is used of `Deno.HttpServer`. */
export interface Server {
  readonly addr: { readonly hostname: string; readonly port: number };
  /** Settles when it has ended. */
  readonly finished: Promise<void>;
  /** Ends it, once what it answers has been sent. */
  shutdown(): Promise<void>;
}

/** Milliseconds until it listens again. */
const PAUSE = 500;

/** A server that is started again, on the same port, until it is shut down. */
export class Listener {
  /** Where it listens. */
  readonly addr: Server["addr"];
  readonly #serve: (port: number) => Server;
  readonly #pause: number;
  #server: Server;
  #isShut = false;

  /**
   * Starts it.
   *
   * @param serve Starts a server on a port, 0 for any.
   * @throws What that throws.
   */
  constructor(serve: (port: number) => Server, port: number, pause: number = PAUSE) {
    [this.#serve, this.#pause] = [serve, pause];
    this.#server = serve(port);
    this.addr = this.#server.addr;
    this.#watch();
  }

  /** Ends it, once what it answers has been sent. */
  async shutdown(): Promise<void> {
    this.#isShut = true;
    await this.#server.shutdown();
  }

  async #watch(): Promise<void> {
    while (!this.#isShut) {
      try {
        await this.#server.finished;
      } catch (error) { // such as too many open files: those that are open are closed by it
        if (this.#isShut) return;
        console.error(`listening ended (${messageOf(error)}); listening again`);
        await this.#again();
      }
    }
  }

  async #again(): Promise<void> {
    while (!this.#isShut) {
      await new Promise((resolve) => setTimeout(resolve, this.#pause));
      try {
        if (!this.#isShut) this.#server = this.#serve(this.addr.port);
        return;
      } catch { // still too many
      }
    }
  }
}
