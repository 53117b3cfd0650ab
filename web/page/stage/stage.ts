/** Where a drawing appears as it comes about, and stays until the next one. */
import { h, replace } from "../base/dom.ts";
import { canvasOf, paint } from "../base/pictures.ts";
import { bytesText, secondsText } from "../base/text.ts";
import { arrowKeys } from "../controls/arrow_keys.ts";
import type { Picture } from "../../protocol.ts";
import type { Job } from "../state/queue.ts";
import { captionOf } from "../state/request.ts";
import { History } from "./history.ts";
import { Player } from "./player.ts";

/** Bytes of pixels of former steps. */
const MOST_HISTORY = 1 << 26;

/** What the stage asks of the page. */
export interface StageActions {
  /** Opens a picture of a finished drawing. */
  readonly onOpen: (job: Job, index: number) => void;
  readonly onCancel: (job: Job) => void;
}

/** The stage. */
export class Stage {
  /** To be put into the page. */
  readonly element: HTMLElement;
  readonly #actions: StageActions;
  readonly #frames = h("div", { class: "contact" });
  readonly #strip = h("div", { class: "strip" });
  readonly #player: Player;
  readonly #progress = h("progress", { max: 1, value: 0, "aria-label": "Progress" });
  readonly #state = h("p", { class: "state" });
  readonly #cancel = h("button", { type: "button" }, "Cancel");
  readonly #rewind: HTMLElement;
  readonly #rewindSlider: HTMLInputElement;
  readonly #rewindText = h("output", {});
  readonly #empty: HTMLElement;
  #canvases: HTMLCanvasElement[] = [];
  #buttons: HTMLButtonElement[] = [];
  #job: Job | null = null;
  #history = new History(MOST_HISTORY);

  /** Empty until there is a drawing. */
  constructor(actions: StageActions) {
    this.#actions = actions;
    this.#player = new Player((index) => this.#mark(index));
    this.#cancel.addEventListener("click", () => this.#job && actions.onCancel(this.#job));
    this.#rewindSlider = h("input", {
      type: "range",
      id: "rewind",
      min: 0,
      oninput: () => this.#goBack(Number(this.#rewindSlider.value)),
    });
    this.#rewind = h(
      "div",
      { class: "rewind", hidden: true },
      h("label", { for: "rewind" }, "From noise"),
      this.#rewindSlider,
      this.#rewindText,
    );
    this.#empty = h(
      "div",
      { class: "empty" },
      h(
        "div",
        { class: "contact", "aria-hidden": "true" },
        ...Array.from({ length: 4 }, () => h("span", { class: "frame" })),
      ),
      h("p", {}, "Choose a class and draw. Pictures come out of noise here, step by step."),
    );
    arrowKeys(this.#frames);
    arrowKeys(this.#strip);
    this.element = h(
      "section",
      { class: "stage", "aria-label": "Drawing" },
      this.#empty,
      h("div", { class: "run", hidden: true }, this.#state, this.#cancel, this.#progress),
      this.#player.element,
      this.#frames,
      this.#strip,
      this.#rewind,
    );
    for (const element of [this.#player.element, this.#frames, this.#strip]) element.hidden = true;
  }

  /** The drawing that is shown. */
  get job(): Job | null {
    return this.#job;
  }

  /** Brings its top into sight, where it is above it, as on a phone. */
  reveal(): void {
    if (this.element.getBoundingClientRect().top < 0) this.element.scrollIntoView();
  }

  /** Shows a drawing as it is now. */
  show(job: Job): void {
    if (this.#job?.id !== job.id) this.#begin(job);
    this.#job = job;
    const { step, steps, pictures, state } = job;
    this.#history.add({ step, pictures });
    this.#paint(pictures);
    const isOpen = state === "waiting" || state === "running";
    this.#cancel.hidden = !isOpen;
    this.#progress.hidden = !isOpen;
    this.#state.textContent = stateText(job);
    this.#state.classList.toggle("error", state === "failed");
    const { loading } = job;
    if (loading && loading.total > 0) this.#progress.value = loading.done / loading.total;
    else this.#progress.value = step / steps;
    this.element.setAttribute("aria-busy", String(isOpen));
    if (state === "done") this.#finish();
  }

  #begin(job: Job): void {
    const { request, parameters, model } = job;
    this.#history = new History(MOST_HISTORY);
    this.#job = job;
    this.#empty.hidden = true;
    this.#rewind.hidden = true;
    this.element.querySelector<HTMLElement>(".run")!.hidden = false;
    this.#canvases = request.pictures.map(() => canvasOf());
    const isWay = parameters.mode === "seeds" || parameters.mode === "classes";
    this.#buttons = request.pictures.map((picture, index) => {
      const caption = captionOf(picture, model);
      return h("button", {
        type: "button",
        class: "frame",
        title: caption,
        "aria-label": caption,
        disabled: true,
        onclick: () => this.#open(index),
        onfocus: () => isWay && this.#look(index),
      }, this.#canvases[index]!);
    });
    const { columns, isByColumns } = layoutOf(job);
    this.#frames.style.setProperty("--columns", String(columns));
    this.#frames.style.setProperty("--rows", String(Math.ceil(request.pictures.length / columns)));
    this.#frames.classList.toggle("by-columns", isByColumns);
    this.#frames.classList.toggle("wide", columns > 5);
    this.#frames.classList.toggle("single", request.pictures.length === 1);
    replace(this.#frames, ...(isWay ? [] : this.#buttons));
    replace(this.#strip, ...(isWay ? this.#buttons : []));
    this.#frames.hidden = isWay;
    this.#strip.hidden = !isWay;
    this.#player.element.hidden = !isWay;
    this.#player.pause();
    if (isWay) this.#player.go(0);
  }

  #paint(pictures: readonly Picture[]): void {
    pictures.forEach((picture, i) => this.#canvases[i] && paint(this.#canvases[i], picture));
    if (this.#player.element.hidden || this.#job === null) return;
    const { request, model } = this.#job;
    this.#player.show(pictures, request.pictures.map((picture) => captionOf(picture, model)));
  }

  #finish(): void {
    for (const button of this.#buttons) button.disabled = false;
    if (!this.#player.element.hidden) this.#player.playIfWelcome();
    const { length } = this.#history.moments;
    this.#rewind.hidden = length < 3;
    this.#rewindSlider.max = String(length - 1);
    this.#goBack(length - 1);
  }

  #goBack(index: number): void {
    const moment = this.#history.moments[index];
    if (moment === undefined || this.#job === null) return;
    const { steps } = this.#job;
    this.#rewindSlider.value = String(index);
    const share = index / Math.max(1, this.#history.moments.length - 1);
    this.#rewindSlider.style.setProperty("--share", String(share));
    const text = `step ${moment.step} of ${steps}`;
    this.#rewindSlider.setAttribute("aria-valuetext", text);
    this.#rewindText.textContent = text;
    this.#paint(moment.pictures);
  }

  #look(index: number): void {
    this.#player.pause();
    this.#player.go(index);
  }

  #mark(index: number): void {
    this.#buttons.forEach((button, i) => button.classList.toggle("now", i === index));
  }

  #open(index: number): void {
    if (this.#job?.state === "done") this.#actions.onOpen(this.#job, index);
  }
}

/** How many pictures stand beside each other, and whether they follow each other downwards. */
function layoutOf({ parameters, request }: Job): { columns: number; isByColumns: boolean } {
  const { length } = request.pictures;
  const { mode, labels: { length: classes }, count } = parameters;
  if (mode !== "pictures" || classes === 1 || count === 1) {
    return { columns: Math.ceil(Math.sqrt(length)), isByColumns: false };
  }
  // a row a class or a column a class, whichever is wider than high
  return classes >= count
    ? { columns: classes, isByColumns: true }
    : { columns: count, isByColumns: false };
}

/** What becomes of a drawing at the moment. */
export function stateText(job: Job): string {
  const { state, ahead, loading, step, steps } = job;
  switch (state) {
    case "waiting":
      return `Waits: ${ahead} before it`;
    case "running":
      if (ahead > 0) return `Waits on the server: ${ahead} before it`;
      if (loading) {
        return `Loads the model: ${bytesText(loading.done)} of ${bytesText(loading.total)}`;
      }
      return step === 0 ? "Prepares the model" : `Step ${step} of ${steps}`;
    case "done":
      return `Drawn in ${secondsText(job.seconds ?? 0)} on ${job.device}`;
    case "failed":
      return `It failed: ${job.error}`;
    case "cancelled":
      return "Cancelled";
  }
}
