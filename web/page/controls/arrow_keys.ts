/** Moving through buttons by arrow keys, beside the tab key. */

/** Where a button stands. */
interface Place {
  readonly offsetLeft: number;
  readonly offsetTop: number;
}

/** Lets arrow keys, Home and End move through the buttons of an element, whatever they are then. */
export function arrowKeys(element: HTMLElement): void {
  element.addEventListener("keydown", (event) => {
    const all = [...element.querySelectorAll<HTMLButtonElement>(":scope > button")];
    const at = all.findIndex((button) => button === document.activeElement);
    const next = at < 0 ? undefined : all[targetOf(event.key, at, all)];
    if (next === undefined) return;
    event.preventDefault();
    next.focus();
  });
}

/** The number of the button that a key leads to; -1 where it leads to none. */
export function targetOf(key: string, at: number, all: readonly Place[]): number {
  switch (key) {
    case "Home":
      return 0;
    case "End":
      return all.length - 1;
    case "ArrowRight":
      return nearest(at, all, (dx, dy) => [dx, dy]);
    case "ArrowLeft":
      return nearest(at, all, (dx, dy) => [-dx, dy]);
    case "ArrowDown":
      return nearest(at, all, (dx, dy) => [dy, dx]);
    case "ArrowUp":
      return nearest(at, all, (dx, dy) => [-dy, dx]);
    default:
      return -1;
  }
}

/** The nearest one that is more ahead than beside. */
function nearest(
  at: number,
  all: readonly Place[],
  turned: (dx: number, dy: number) => readonly [along: number, across: number],
): number {
  const from = all[at]!;
  let [best, least] = [-1, Infinity];
  all.forEach(({ offsetLeft, offsetTop }, i) => {
    const [along, across] = turned(offsetLeft - from.offsetLeft, offsetTop - from.offsetTop);
    const distance = along + 8 * Math.abs(across);
    if (along > Math.abs(across) && distance < least) [best, least] = [i, distance];
  });
  return best;
}
