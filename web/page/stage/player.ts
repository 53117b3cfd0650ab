/** Pictures that follow each other, shown one at a time: played to and fro, or moved through by hand. */
import { h, icon } from "../base/dom.ts";
import { canvasOf, paint } from "../base/pictures.ts";
import type { Picture } from "../../protocol.ts";

/** Milliseconds that a picture stays. */
const STAYS = 110;

/** The control. */
export class Player {
  /** To be put into the page. */
  readonly element: HTMLElement;
  readonly #canvas = canvasOf();
  readonly #caption = h("p", { class: "caption" });
  readonly #slider: HTMLInputElement;
  readonly #button: HTMLButtonElement;
  readonly #onShow: (index: number) => void;
  #pictures: readonly Picture[] = [];
  #captions: readonly string[] = [];
  #index = 0;
  #direction = 1;
  #timer: ReturnType<typeof setInterval> | undefined;

  /** @param onShow Called with the number of the picture that is shown. */
  constructor(onShow: (index: number) => void) {
    this.#onShow = onShow;
    this.#slider = h("input", {
      type: "range",
      min: 0,
      value: 0,
      "aria-label": "Place on the way",
      oninput: () => {
        this.pause();
        this.go(Number(this.#slider.value));
      },
    });
    this.#button = h("button", {
      type: "button",
      class: "square",
      onclick: () => this.#timer === undefined ? this.play() : this.pause(),
    });
    this.element = h(
      "div",
      { class: "player" },
      h("div", { class: "well" }, this.#canvas),
      h("div", { class: "row" }, this.#button, this.#slider),
      this.#caption,
    );
    this.pause();
  }

  /** Shows these pictures from now on, where it stands. */
  show(pictures: readonly Picture[], captions: readonly string[]): void {
    [this.#pictures, this.#captions] = [pictures, captions];
    this.#slider.max = String(Math.max(0, pictures.length - 1));
    this.#slider.disabled = this.#button.disabled = pictures.length === 0;
    if (pictures.length === 0) this.#clear();
    else this.go(Math.min(this.#index, pictures.length - 1));
  }

  /** Shows nothing: what it showed was of another drawing. */
  #clear(): void {
    const { width, height } = this.#canvas; // it keeps its place
    this.#canvas.getContext("2d")!.clearRect(0, 0, width, height);
    this.#caption.textContent = "";
  }

  /** Shows a picture. */
  go(index: number): void {
    const picture = this.#pictures[index];
    if (picture === undefined) return;
    this.#index = index;
    paint(this.#canvas, picture);
    const caption = this.#captions[index] ?? "";
    this.#caption.textContent = caption;
    this.#slider.value = String(index);
    this.#slider.setAttribute("aria-valuetext", caption);
    const share = index / Math.max(1, this.#pictures.length - 1);
    this.#slider.style.setProperty("--share", String(share));
    this.#onShow(index);
  }

  /** Plays to and fro. */
  play(): void {
    this.pause();
    this.#timer = setInterval(() => {
      if (!this.element.isConnected) return this.pause();
      const next = this.#index + this.#direction;
      if (next < 0 || next >= this.#pictures.length) this.#direction *= -1;
      this.go(Math.min(this.#pictures.length - 1, Math.max(0, this.#index + this.#direction)));
    }, STAYS);
    this.#look("pause", "Pause");
  }

  /** Plays, unless the visitor's system asks for less motion. */
  playIfWelcome(): void {
    if (!matchMedia("(prefers-reduced-motion: reduce)").matches) this.play();
  }

  /** Stops where it is. */
  pause(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#look("play", "Play");
  }

  #look(symbol: "play" | "pause", label: string): void {
    this.#button.replaceChildren(icon(symbol));
    this.#button.setAttribute("aria-label", label);
    this.#button.title = label;
  }
}
