/** One of a few: radio buttons that look like a bar of segments. */
import { type Child, freshId, h } from "../base/dom.ts";

/** Something to choose. */
export interface Option<T> {
  readonly value: T;
  readonly label: string;
  /** Shown in place of the label, which screen readers still read. */
  readonly symbol?: Child;
}

/** The control. */
export class Choice<T> {
  /** To be put into the page. */
  readonly element: HTMLFieldSetElement;
  readonly #inputs = new Map<T, HTMLInputElement>();

  /**
   * @param legend What is chosen.
   * @param isQuiet Whether only screen readers are told the legend.
   */
  constructor(
    legend: string,
    options: readonly Option<T>[],
    onChange: (value: T) => void,
    isQuiet = false,
  ) {
    const name = freshId("choice");
    this.element = h(
      "fieldset",
      { class: "choice" },
      h("legend", { class: isQuiet ? "unseen" : null }, legend),
      h(
        "div",
        { class: "segments" },
        ...options.map(({ value, label, symbol }) => {
          const input = h("input", { type: "radio", name, onchange: () => onChange(value) });
          this.#inputs.set(value, input);
          const text = symbol ? h("span", { class: "unseen" }, label) : label;
          return h(
            "label",
            { title: symbol ? label : null },
            input,
            h("span", { class: "segment" }, symbol, text),
          );
        }),
      ),
    );
  }

  /** Shows what is chosen. */
  show(value: T): void {
    const input = this.#inputs.get(value);
    if (input) input.checked = true;
  }
}
