/** What the page says: in words that are seen for a while, and to screen readers. */
import { h, icon } from "./dom.ts";

/** How long a notice stays, in milliseconds; errors stay until they are closed. */
const STAYS = 7000;

/** Shortest time between two lines about progress, in milliseconds. */
const BETWEEN = 4000;

/** The place for notices. */
export class Notices {
  readonly #shown = document.getElementById("notices")!;
  readonly #spoken = document.getElementById("spoken")!;
  #lastProgress = 0;

  /** Shows a notice, which is read out as well. */
  show(text: string, isError = false): void {
    const close = h("button", {
      type: "button",
      class: "square",
      "aria-label": "Close this notice",
      onclick: () => notice.remove(),
    }, icon("close"));
    const notice = h(
      "div",
      { class: isError ? "notice error" : "notice", role: isError ? "alert" : null },
      h("p", {}, text),
      close,
    );
    this.#shown.append(notice);
    while (this.#shown.childElementCount > 4) this.#shown.firstElementChild!.remove();
    if (!isError) {
      this.#spoken.textContent = text;
      setTimeout(() => notice.remove(), STAYS);
    }
  }

  /** Reads progress out, every few seconds at most. */
  progress(text: string): void {
    const now = performance.now();
    if (now - this.#lastProgress < BETWEEN) return;
    this.#lastProgress = now;
    this.#spoken.textContent = text;
  }

  /** Reads something out that is seen elsewhere. */
  say(text: string): void {
    this.#spoken.textContent = text;
  }
}
