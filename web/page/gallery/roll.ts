/** The last drawings beside the stage, a picture of each. */
import { h, replace } from "../base/dom.ts";
import { canvasOf, paintWhenSeen } from "../base/pictures.ts";
import { arrowKeys } from "../controls/arrow_keys.ts";
import { type DialogActions, openPicture } from "./dialog.ts";
import type { Sheet } from "./sheet.ts";
import type { GalleryStore } from "./store.ts";

/** How many are shown. */
const SHOWN = 12;

/** The roll. */
export class Roll {
  /** To be put into the page; hidden while there is nothing. */
  readonly element: HTMLElement;
  readonly #store: GalleryStore;
  readonly #actions: DialogActions;
  readonly #frames = h("div", { class: "frames" });
  #shown = new Map<string, HTMLElement>();

  /** Shows what the store holds at the moment, and after {@link update}. */
  constructor(store: GalleryStore, actions: DialogActions) {
    [this.#store, this.#actions] = [store, actions];
    this.element = h("section", { class: "roll", "aria-label": "Last drawings" }, this.#frames);
    arrowKeys(this.#frames);
    this.update();
  }

  /** Shows what the store holds now. */
  update(): void {
    const sheets = this.#store.sheets.filter(({ files }) => files.length > 0).slice(0, SHOWN);
    this.element.hidden = sheets.length === 0;
    const shown = new Map(
      sheets.map((sheet) => [sheet.id, this.#shown.get(sheet.id) ?? this.#frame(sheet)]),
    );
    this.#shown = shown;
    replace(this.#frames, ...shown.values());
  }

  #frame(sheet: Sheet): HTMLElement {
    const index = sheet.parameters.mode === "variations" ? (sheet.files.length - 1) / 2 : 0;
    const canvas = canvasOf();
    paintWhenSeen(canvas, sheet.files[index]!);
    return h("button", {
      type: "button",
      class: "frame",
      title: sheet.captions[index],
      "aria-label": sheet.captions[index],
      onclick: () => openPicture(sheet, index, this.#actions),
    }, canvas);
  }
}
