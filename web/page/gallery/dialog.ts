/** One picture, large, with what it came from and what can be done with it. */
import { h, icon, type IconName } from "../base/dom.ts";
import { canvasOf, paintFile } from "../base/pictures.ts";
import { plural, secondsText } from "../base/text.ts";
import { addressOf } from "../state/address.ts";
import type { Parameters } from "../state/parameters.ts";
import { picturesOf } from "../state/request.ts";
import { download } from "./download.ts";
import { fileNameOf, type Sheet } from "./sheet.ts";

/** What the dialog asks of the page. */
export interface DialogActions {
  /** Shows parameters in the form. */
  readonly onUse: (parameters: Parameters) => void;
  readonly onNotice: (text: string, isError?: boolean) => void;
}

/**
 * Opens the dialog, unless there is one, as after two quick clicks; the browser gives the focus back
 * where it was when it is closed.
 */
export function openPicture(sheet: Sheet, index: number, actions: DialogActions): void {
  if (document.querySelector("dialog[open]") !== null) return;
  const { parameters, captions, model, device, seconds } = sheet;
  const file = sheet.files[index]!;
  const canvas = canvasOf();
  void paintFile(canvas, file).catch(() => actions.onNotice("This picture cannot be read.", true));
  const picture = picturesOf(parameters)[index];
  // those on the way to others are the middle of no variations
  const centre: Parameters | null = picture && !picture.towardsSeed && !picture.towardsLabel
    ? { ...parameters, mode: "variations", labels: [picture.label], seed: picture.seed }
    : null;
  const use = (parameters: Parameters): void => {
    dialog.close();
    actions.onUse(parameters);
  };
  const copyLink = async (): Promise<void> => {
    const address = new URL(addressOf("draw", parameters), location.href).href;
    try {
      await navigator.clipboard.writeText(address);
      actions.onNotice("The link is copied: it opens this page with these parameters.");
    } catch {
      actions.onNotice(`The browser does not let the page copy. The link is ${address}`, true);
    }
  };
  const button = (label: string, symbol: IconName, onclick: () => void) =>
    h("button", { type: "button", onclick }, icon(symbol), label);
  const dialog: HTMLDialogElement = h(
    "dialog",
    { class: "picture", "aria-label": captions[index], onclose: () => dialog.remove() },
    h("div", { class: "well", role: "img", "aria-label": captions[index] }, canvas),
    h(
      "div",
      { class: "facts" },
      h("h2", {}, captions[index]),
      h("dl", {}, ...factsOf(parameters, model, device, seconds)),
      h(
        "div",
        { class: "buttons" },
        button("Draw like this", "again", () => use(parameters)),
        centre && button("Vary this", "dice", () => use(centre)),
        button("Download PNG", "download", () => download(file, fileNameOf(sheet, index))),
        button("Copy link", "link", () => void copyLink()),
      ),
      h(
        "p",
        { class: "help" },
        "The PNG keeps these parameters: drop it on this page to have them back.",
      ),
    ),
    h(
      "button",
      {
        type: "button",
        class: "square close",
        "aria-label": "Close",
        onclick: () => dialog.close(),
      },
      icon("close"),
    ),
  );
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close(); // its backdrop
  });
  document.body.append(dialog);
  dialog.showModal();
}

function factsOf(
  parameters: Parameters,
  model: string,
  device: string,
  seconds: number,
): HTMLElement[] {
  const { sampler, steps, eta, guidance, interval } = parameters;
  const rows: [string, string][] = [
    ["Model", model],
    ["Sampler", `${sampler}, ${plural(steps, "step")}${eta > 0 ? `, eta ${eta}` : ""}`],
    ["Guidance", guidance + (interval ? ` from time ${interval[0]} to ${interval[1]}` : "")],
    ["Drawn", `on ${device}, all in ${secondsText(seconds)}`],
  ];
  return rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)));
}
