/** Drawings that wait for the one before them. */
import { h, icon, replace } from "../base/dom.ts";
import type { Job } from "../state/queue.ts";
import { captionOf, titleOf } from "../state/request.ts";

/** The list. */
export class QueueList {
  /** To be put into the page; hidden while nothing waits. */
  readonly element: HTMLElement;
  readonly #list = h("ol", {});
  readonly #onCancel: (job: Job) => void;
  #shown = "";

  /** @param onCancel Called with a drawing that is not wanted any more. */
  constructor(onCancel: (job: Job) => void) {
    this.#onCancel = onCancel;
    this.element = h(
      "section",
      { class: "queue", hidden: true, "aria-label": "Waiting drawings" },
      h("h2", {}, "Next"),
      this.#list,
    );
  }

  /** Shows those that wait. */
  show(jobs: readonly Job[]): void {
    const waiting = jobs.filter(({ state }) => state === "waiting");
    const ids = waiting.map(({ id }) => id).join(" ");
    if (ids === this.#shown) return; // what is under the pointer or has the focus stays
    this.#shown = ids;
    const hadFocus = this.element.contains(document.activeElement);
    this.element.hidden = waiting.length === 0;
    replace(
      this.#list,
      ...waiting.map((job, i) => {
        const name = nameOf(job);
        return h(
          "li",
          {},
          h("span", {}, name),
          h("span", { class: "help" }, `${i + 1} of ${waiting.length}, ${placeText(job)}`),
          h("button", {
            type: "button",
            class: "square",
            "aria-label": `Cancel ${name}`,
            onclick: () => this.#onCancel(job),
          }, icon("close")),
        );
      }),
    );
    if (hadFocus) this.#list.querySelector("button")?.focus();
  }
}

function placeText({ place }: Job): string {
  return place === "browser" ? "in this browser" : "on the server";
}

function nameOf({ request, model, parameters }: Job): string {
  return titleOf(parameters, request.pictures.map((picture) => captionOf(picture, model)));
}
