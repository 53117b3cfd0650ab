/** Moving through buttons by arrow keys, beside the tab key. */

/** Lets arrow keys, Home and End move through the buttons of an element, whatever they are then. */
export function arrowKeys(element: HTMLElement): void {
  const buttons =
    (): HTMLButtonElement[] => [...element.querySelectorAll<HTMLButtonElement>(":scope > button")];
  element.addEventListener("keydown", (event) => {
    const all = buttons();
    const at = all.findIndex((button) => button === document.activeElement);
    if (at < 0) return;
    const to = targetOf(event.key, at, all);
    const next = all[to ?? -1];
    if (next === undefined) return;
    event.preventDefault();
    next.focus();
  });
}

function targetOf(key: string, at: number, all: readonly HTMLElement[]): number | undefined {
  switch (key) {
    case "ArrowRight":
      return at + 1;
    case "ArrowLeft":
      return at - 1;
    case "Home":
      return 0;
    case "End":
      return all.length - 1;
    case "ArrowDown":
      return at + columns(all);
    case "ArrowUp":
      return at - columns(all);
    default:
      return undefined;
  }
}

/** How many stand in the first row. */
function columns(all: readonly HTMLElement[]): number {
  const top = all[0]!.offsetTop;
  const next = all.findIndex(({ offsetTop }) => offsetTop > top);
  return next < 0 ? all.length : next;
}
