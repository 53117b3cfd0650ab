/** A seed: a field, and a die that throws another one. */
import { freshId, h, icon } from "../base/dom.ts";
import { MOST_SEED } from "../../read_request.ts";
import { randomSeed } from "../state/parameters.ts";

/** The control. */
export class SeedField {
  /** To be put into the page. */
  readonly element: HTMLDivElement;
  readonly #input: HTMLInputElement;
  readonly #lock: HTMLButtonElement | null = null;
  #seed = 0;

  /**
   * @param onLock Called when the visitor locks or unlocks it; there is no lock without it.
   */
  constructor(
    label: string,
    onChange: (seed: number) => void,
    onLock?: (isLocked: boolean) => void,
  ) {
    const id = freshId("seed");
    const give = (seed: number): void => {
      this.show(seed);
      onChange(seed);
    };
    this.#input = h("input", {
      type: "number",
      id,
      min: 0,
      max: MOST_SEED,
      step: 1,
      inputmode: "numeric",
      oninput: () => {
        if (this.#input.value !== "" && this.#input.validity.valid) {
          onChange(this.#input.valueAsNumber);
        }
      },
      onchange: () => {
        const typed = this.#input.valueAsNumber;
        const seed = Number.isFinite(typed) ? typed : this.#seed; // no number: as before
        give(Math.min(MOST_SEED, Math.max(0, Math.round(seed))));
      },
    });
    if (onLock) {
      const lock = h("button", { type: "button", class: "square", "aria-pressed": "false" });
      lock.addEventListener("click", () => onLock(lock.getAttribute("aria-pressed") !== "true"));
      this.#lock = lock;
    }
    const dice = h("button", {
      type: "button",
      class: "square",
      title: "Another seed",
      "aria-label": `Another ${label.toLowerCase()}`,
      onclick: () => give(randomSeed()),
    }, icon("dice"));
    this.element = h(
      "div",
      { class: "field seed" },
      h("label", { for: id }, label),
      h("div", { class: "row" }, this.#input, dice, this.#lock),
    );
    this.showLock(false);
  }

  /** Shows a seed. */
  show(seed: number): void {
    this.#seed = seed;
    if (document.activeElement !== this.#input || this.#input.valueAsNumber !== seed) {
      this.#input.value = String(seed);
    }
  }

  /** Shows whether the next drawing has the same seed. */
  showLock(isLocked: boolean): void {
    const lock = this.#lock;
    if (lock === null) return;
    lock.setAttribute("aria-pressed", String(isLocked));
    lock.setAttribute("aria-label", "Keep this seed");
    lock.title = isLocked
      ? "Kept: each drawing has this seed"
      : "Free: each drawing has another seed";
    lock.replaceChildren(icon(isLocked ? "lock" : "unlock"));
  }
}
