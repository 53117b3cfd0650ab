/** The part of the way that is guided: all of it, or from one time to another. */
import { freshId, h } from "../base/dom.ts";
import type { ModelInfo } from "../../protocol.ts";
import { Slider } from "./slider.ts";

type Interval = readonly [number, number];

/** The control. */
export class IntervalField {
  /** To be put into the page. */
  readonly element: HTMLDivElement;
  readonly #onChange: (interval: Interval | null) => void;
  readonly #box: HTMLInputElement;
  readonly #ends = h("div", { class: "ends" });
  #sliders: readonly [Slider, Slider] | null = null;
  #last: Interval = [0, 0];

  /** @param onChange Given null for all of the way. */
  constructor(onChange: (interval: Interval | null) => void) {
    this.#onChange = onChange;
    const id = freshId("interval");
    this.#box = h("input", {
      type: "checkbox",
      id,
      onchange: () => {
        this.#onChange(this.#box.checked ? this.#last : null);
        this.#ends.hidden = !this.#box.checked;
      },
    });
    this.element = h(
      "div",
      { class: "field interval" },
      h("label", { class: "check", for: id }, this.#box, "Guide only from one time to another"),
      this.#ends,
    );
  }

  /** Sets what times there are. */
  setModel({ times, process }: Pick<ModelInfo, "times" | "process">): void {
    const { least, most, grain } = times;
    this.#last = [least, most];
    const ends = process === "flow" ? ["noise", "picture"] : ["picture", "noise"];
    const end = (label: string, index: 0 | 1): Slider =>
      new Slider({
        label,
        least,
        most,
        grain,
        onInput: (value) => {
          const [from, to] = this.#last;
          const next: Interval = index === 0
            ? [value, Math.max(value, to)]
            : [Math.min(from, value), value];
          this.show(next);
          this.#onChange(next);
        },
      });
    this.#sliders = [
      end(`From time (${least}: ${ends[0]})`, 0),
      end(`To time (${most}: ${ends[1]})`, 1),
    ];
    this.#ends.replaceChildren(...this.#sliders.map(({ element }) => element));
  }

  /** Shows an interval, or that all is guided. */
  show(interval: Interval | null): void {
    if (interval) this.#last = interval;
    this.#box.checked = interval !== null;
    this.#ends.hidden = interval === null;
    this.#sliders?.forEach((slider, i) => slider.show(this.#last[i]!));
  }
}
