/** What a run drew: the pictures of one of its steps, and a slider through the steps. */
import { freshId, h } from "../base/dom.ts";
import type { RunInfo, Runs } from "../../runs.ts";

/** The pictures of a run. */
export class RunPictures {
  /** To be put into the page. */
  readonly element: HTMLElement;
  readonly #runs: Runs;
  readonly #id: string;
  readonly #title = h("figcaption", {});
  readonly #image = h("img", { class: "crisp", decoding: "async" });
  readonly #slider: HTMLInputElement;
  readonly #text = h("output", {});
  readonly #settings = h("p", { class: "help" });
  #drawn: readonly number[] = [];
  #isNewest = true;
  #name = "";

  /** Of a run by its id. */
  constructor(runs: Runs, id: string) {
    [this.#runs, this.#id] = [runs, id];
    const sliderId = freshId("drawn");
    this.#slider = h("input", {
      type: "range",
      id: sliderId,
      min: 0,
      oninput: () => {
        this.#isNewest = Number(this.#slider.value) === this.#drawn.length - 1;
        this.#look();
      },
    });
    this.element = h(
      "figure",
      {},
      this.#title,
      this.#image,
      h(
        "div",
        { class: "rewind" },
        h("label", { for: sliderId }, "After"),
        this.#slider,
        this.#text,
      ),
      h("details", { class: "more" }, h("summary", {}, "Settings"), this.#settings),
    );
  }

  /** Shows what there is now; the newest unless the visitor looks at others. */
  show({ title, drawn, settings }: RunInfo, colour: number): void {
    this.#name = title;
    this.#title.replaceChildren(h("i", { class: `dot colour-${colour}` }), title);
    this.#drawn = drawn;
    this.#slider.max = String(drawn.length - 1);
    if (this.#isNewest) this.#slider.value = String(drawn.length - 1);
    this.#settings.textContent = Object.entries(settings)
      .filter(([, value]) => value !== null)
      .map(([name, value]) => `${name} ${value}`).join(", ");
    this.#look();
  }

  #look(): void {
    const step = this.#drawn[Number(this.#slider.value)];
    if (step === undefined) return;
    const text = `step ${step.toLocaleString("en")}`;
    const share = Number(this.#slider.value) / Math.max(1, this.#drawn.length - 1);
    this.#slider.style.setProperty("--share", String(share));
    this.#slider.setAttribute("aria-valuetext", text);
    this.#text.textContent = text;
    const address = this.#runs.picturesUrl(this.#id, step);
    if (this.#image.src === address) return;
    this.#image.src = address;
    this.#image.alt = `What ${this.#name} drew after ${text}`;
  }
}
