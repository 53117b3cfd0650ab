/** A number: a field to type it into, and a slider that has the same value. */
import { freshId, h } from "../base/dom.ts";

/** How a slider looks and what it can be. */
export interface SliderOptions {
  readonly label: string;
  readonly least: number;
  readonly most: number;
  /** Distance between two values; 1 by default. */
  readonly grain?: number;
  /** Whether equal distances on the slider are equal factors, for ranges such as 1 to 1,000. */
  readonly isLogarithmic?: boolean;
  /** What the number does, in a few words. */
  readonly help?: string;
  /** Called with each value that the visitor gives it. */
  readonly onInput: (value: number) => void;
}

/** Positions of a logarithmic slider. */
const POSITIONS = 200;

/** The control. */
export class Slider {
  /** To be put into the page. */
  readonly element: HTMLDivElement;
  readonly #options: SliderOptions;
  readonly #number: HTMLInputElement;
  readonly #range: HTMLInputElement;
  #least: number;
  #most: number;
  #value: number;

  /** Shows nothing until {@link show}. */
  constructor(options: SliderOptions) {
    this.#options = options;
    [this.#least, this.#most] = [options.least, options.most];
    this.#value = options.least;
    const [id, helpId, labelId] = [freshId("number"), freshId("help"), freshId("label")];
    const described = options.help === undefined ? null : helpId;
    this.#number = h("input", {
      type: "number",
      id,
      inputmode: "decimal",
      "aria-describedby": described,
      oninput: () => this.#typed(),
      onchange: () => this.#settled(),
    });
    this.#range = h("input", {
      type: "range",
      "aria-labelledby": labelId,
      oninput: () => this.#moved(),
    });
    this.element = h(
      "div",
      { class: "field slider" },
      h("label", { for: id, id: labelId }, options.label),
      this.#number,
      this.#range,
      options.help === undefined ? null : h("p", { class: "help", id: helpId }, options.help),
    );
    this.setLimits(options.least, options.most);
  }

  /** Sets what it can be from now on. */
  setLimits(least: number, most: number): void {
    [this.#least, this.#most] = [least, most];
    const { grain = 1, isLogarithmic = false } = this.#options;
    Object.assign(this.#number, { min: least, max: most, step: grain });
    Object.assign(
      this.#range,
      isLogarithmic ? { min: 0, max: POSITIONS, step: 1 } : { min: least, max: most, step: grain },
    );
  }

  /** Shows a value. */
  show(value: number): void {
    this.#value = value;
    if (document.activeElement !== this.#number) this.#number.value = this.#text(value);
    this.#range.value = String(this.#positionOf(value));
    if (this.#options.isLogarithmic) this.#range.setAttribute("aria-valuetext", this.#text(value));
    const [least, most] = [Number(this.#range.min), Number(this.#range.max)];
    const share = most > least ? (Number(this.#range.value) - least) / (most - least) : 0;
    this.#range.style.setProperty("--share", String(share));
  }

  #text(value: number): string {
    return String(Number(value.toFixed(4)));
  }

  #typed(): void {
    const value = Number(this.#number.value);
    if (this.#number.value === "" || !this.#number.validity.valid) return; // not finished yet
    this.#give(value);
  }

  /** What was typed becomes what it can be; what is no number, what it was before. */
  #settled(): void {
    const { grain = 1 } = this.#options;
    const typed = this.#number.valueAsNumber;
    const value = Number.isFinite(typed) ? typed : this.#value;
    const limited = Math.min(this.#most, Math.max(this.#least, Math.round(value / grain) * grain));
    this.#number.value = this.#text(limited);
    this.#give(limited);
  }

  #moved(): void {
    const value = this.#valueAt(Number(this.#range.value));
    this.#number.value = this.#text(value);
    this.#give(value);
  }

  #give(value: number): void {
    this.show(value);
    this.#options.onInput(value);
  }

  #valueAt(position: number): number {
    if (!this.#options.isLogarithmic) return position;
    const [least, most] = [Math.max(1, this.#least), this.#most];
    return Math.min(
      most,
      Math.max(this.#least, Math.round(least * (most / least) ** (position / POSITIONS))),
    );
  }

  #positionOf(value: number): number {
    if (!this.#options.isLogarithmic) return value;
    const [least, most] = [Math.max(1, this.#least), this.#most];
    if (most <= least) return 0;
    return Math.round(POSITIONS * Math.log(Math.max(1, value) / least) / Math.log(most / least));
  }
}
