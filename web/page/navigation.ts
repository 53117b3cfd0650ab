/** Which view is shown, by the address. */
import { setAttribute } from "./base/dom.ts";
import type { View } from "./state/address.ts";

/** Shows a view; the focus goes to its heading where the visitor went there. */
export function showView(view: View, takesFocus: boolean): void {
  for (const section of document.querySelectorAll<HTMLElement>("main > section[data-view]")) {
    const isShown = section.dataset["view"] === view;
    section.hidden = !isShown;
    if (isShown) {
      const heading = section.querySelector<HTMLElement>("h1")!;
      document.title = view === "draw" ? "DiT studio" : `${heading.textContent} - DiT studio`;
      if (takesFocus) heading.focus();
    }
  }
  for (const link of document.querySelectorAll<HTMLElement>("#views a")) {
    setAttribute(link, "aria-current", link.dataset["view"] === view ? "page" : null);
  }
}

/** Puts a view into the page. */
export function fillView(view: View, content: HTMLElement): void {
  document.querySelector(`main > section[data-view="${view}"]`)!.append(content);
}

/** Shows the link to a view that not every page has. */
export function offerView(view: View): void {
  document.querySelector(`#views a[data-view="${view}"]`)!.parentElement!.hidden = false;
}

/** Whether the page has a view. */
export function isOffered(view: View): boolean {
  return !document.querySelector(`#views a[data-view="${view}"]`)!.parentElement!.hidden;
}
