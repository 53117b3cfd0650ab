/** The gallery: every finished drawing, newest first, until the visitor clears it. */
import { h, icon, replace } from "../base/dom.ts";
import { canvasOf, paintWhenSeen } from "../base/pictures.ts";
import { plural, secondsText } from "../base/text.ts";
import { type DialogActions, openPicture } from "./dialog.ts";
import { download } from "./download.ts";
import { fileNameOf, type Sheet } from "./sheet.ts";
import type { Parameters } from "../state/parameters.ts";
import { titleOf } from "../state/request.ts";
import type { GalleryStore } from "./store.ts";

/** The view. */
export class GalleryView {
  /** To be put into the page. */
  readonly element: HTMLElement;
  readonly #store: GalleryStore;
  readonly #actions: DialogActions;
  readonly #onRemove: () => void;
  readonly #count = h("p", { class: "lead" });
  readonly #list = h("ul", { class: "sheets" });
  readonly #tools: HTMLElement;
  readonly #cards = new Map<string, HTMLLIElement>();

  /**
   * Shows what the store holds at the moment, and after {@link update}.
   *
   * @param onOpen Called with files that the visitor opens, as if they were dropped on the page.
   * @param onRemove Called when there are fewer sheets than before.
   */
  constructor(
    store: GalleryStore,
    actions: DialogActions,
    onOpen: (files: FileList) => void,
    onRemove: () => void,
  ) {
    [this.#store, this.#actions, this.#onRemove] = [store, actions, onRemove];
    const input = h("input", {
      type: "file",
      accept: "image/png",
      multiple: true,
      class: "unseen",
      tabindex: -1,
      "aria-label": "PNG files to open",
      onchange: () => {
        if (input.files) onOpen(input.files);
        input.value = "";
      },
    });
    this.#tools = h(
      "div",
      { class: "buttons" },
      h(
        "button",
        { type: "button", onclick: () => void this.#downloadAll() },
        icon("download"),
        "Download all",
      ),
      h(
        "button",
        { type: "button", onclick: () => void this.#clear() },
        icon("trash"),
        "Clear the gallery",
      ),
    );
    this.element = h(
      "div",
      { class: "gallery" },
      h(
        "header",
        { class: "bar" },
        this.#count,
        h(
          "div",
          { class: "buttons" },
          h("button", { type: "button", onclick: () => input.click() }, icon("open"), "Open a PNG"),
          input,
          this.#tools,
        ),
      ),
      this.#list,
    );
    this.update();
  }

  /** Shows what the store holds. */
  update(): void {
    const { sheets, isKept } = this.#store;
    const pictures = sheets.reduce((sum, { files }) => sum + files.length, 0);
    const place = isKept ? "kept in this browser" : "gone when this page is closed";
    this.#count.textContent = sheets.length === 0
      ? "Nothing yet: what you draw is kept here. Drop a PNG of a studio anywhere on the page to have its parameters back."
      : `${plural(pictures, "picture")} in ${plural(sheets.length, "drawing")}, ${place}.`;
    this.#tools.hidden = sheets.length === 0;
    const shown = new Set(sheets.map(({ id }) => id));
    for (const id of this.#cards.keys()) if (!shown.has(id)) this.#cards.delete(id);
    replace(
      this.#list,
      ...sheets.map((sheet) => {
        const card = this.#cards.get(sheet.id) ?? this.#card(sheet);
        this.#cards.set(sheet.id, card);
        return card;
      }),
    );
  }

  #card(sheet: Sheet): HTMLLIElement {
    const { parameters, captions, files, model, device, seconds, drawn } = sheet;
    const title = titleOf(parameters, captions);
    const pictures = files.map((file, index) => {
      const canvas = canvasOf();
      paintWhenSeen(canvas, file);
      return h("button", {
        type: "button",
        class: "frame",
        title: captions[index],
        "aria-label": captions[index],
        onclick: () => openPicture(sheet, index, this.#actions),
      }, canvas);
    });
    const thumbs = h("div", { class: "thumbs" }, ...pictures);
    const columns = columnsOf(parameters, files.length);
    if (columns !== null) thumbs.style.setProperty("--columns", String(columns));
    return h(
      "li",
      { class: "sheet-card" },
      h(
        "header",
        {},
        h("h2", {}, title),
        h(
          "p",
          { class: "help" },
          `${parameters.sampler}, ${
            plural(parameters.steps, "step")
          }, guidance ${parameters.guidance} · ${model} · ${device}, ${secondsText(seconds)} · `,
          h("time", { datetime: new Date(drawn).toISOString() }, new Date(drawn).toLocaleString()),
        ),
      ),
      thumbs,
      h(
        "div",
        { class: "buttons" },
        h(
          "button",
          {
            type: "button",
            class: "quiet",
            "aria-label": `Use the parameters of ${title}`,
            onclick: () => this.#actions.onUse(parameters),
          },
          icon("again"),
          "Use",
        ),
        h(
          "button",
          {
            type: "button",
            class: "quiet",
            "aria-label": `Delete ${title}`,
            onclick: () => void this.#remove(sheet),
          },
          icon("trash"),
          "Delete",
        ),
      ),
    );
  }

  async #remove({ id }: Sheet): Promise<void> {
    const next = this.#cards.get(id)?.nextElementSibling?.querySelector("button") ??
      this.element.querySelector("button");
    await this.#store.remove(id).catch(() => {}); // it is gone from the page at least
    this.update();
    this.#onRemove();
    next?.focus();
  }

  async #clear(): Promise<void> {
    const { length } = this.#store.sheets;
    if (!confirm(`Delete all ${plural(length, "drawing")}? They cannot be brought back.`)) return;
    await this.#store.clear().catch(() => {});
    this.update();
    this.#onRemove();
    this.#actions.onNotice("The gallery is empty.");
  }

  async #downloadAll(): Promise<void> {
    const entries: { name: string; file: Blob }[] = [];
    for (const [i, sheet] of this.#store.sheets.toReversed().entries()) {
      const folder = String(i).padStart(3, "0");
      sheet.files.forEach((file, index) => {
        const number = String(index).padStart(2, "0");
        entries.push({ name: `${folder}-${number}-${fileNameOf(sheet, index)}`, file });
      });
    }
    try {
      const { zipOf } = await import("./zip.ts");
      download(await zipOf(entries), "dit-studio.zip");
    } catch (error) {
      this.#actions.onNotice(`The archive could not be made: ${(error as Error).message}`, true);
    }
  }
}

/** How many stand beside each other where that means something: a row a class, or a square. */
function columnsOf({ mode, labels, count }: Parameters, files: number): number | null {
  if (mode === "variations") return Math.sqrt(files);
  return mode === "pictures" && labels.length > 1 && count > 1 && count <= 5 ? count : null;
}
