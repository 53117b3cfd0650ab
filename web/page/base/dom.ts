/** Elements made in one expression. Text is always text: nothing here reads markup. */

/** Something to put into an element; what is null, undefined or false is left out. */
export type Child = Node | string | null | undefined | false;

/** Attributes by name; `true` sets an empty one, false and null none; `onclick` and such listen. */
export type Attributes = Readonly<
  Record<string, string | number | boolean | null | undefined | ((event: never) => void)>
>;

/** An HTML element. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[K] {
  return fill(document.createElement(tag), attributes, children);
}

const SVG = "http://www.w3.org/2000/svg";

/** An SVG element. */
export function svg<K extends keyof SVGElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: readonly Child[]
): SVGElementTagNameMap[K] {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill<E extends Element>(
  element: E,
  attributes: Attributes,
  children: readonly Child[],
): E {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") {
      element.addEventListener(name.slice(2), value as (event: Event) => void);
    } else setAttribute(element, name, value);
  }
  element.append(...present(children));
  return element;
}

/** Sets an attribute, or removes it where the value is false or nothing. */
export function setAttribute(
  element: Element,
  name: string,
  value: string | number | boolean | null | undefined,
): void {
  if (value === false || value === null || value === undefined) element.removeAttribute(name);
  else element.setAttribute(name, value === true ? "" : String(value));
}

/** Puts other content into an element; what had the focus has it still where it stays. */
export function replace(element: Element, ...children: readonly Child[]): void {
  const focused = document.activeElement;
  element.replaceChildren(...present(children));
  if (focused instanceof HTMLElement && focused.isConnected && focused !== document.activeElement) {
    focused.focus({ preventScroll: true });
  }
}

function present(children: readonly Child[]): (Node | string)[] {
  return children.filter((child) => child !== null && child !== undefined && child !== false);
}

let ids = 0;

/** An id that no other element has. */
export function freshId(prefix: string): string {
  return `${prefix}-${++ids}`;
}

/** A symbol of the page's own set, without a meaning of its own for screen readers. */
export function icon(name: IconName): SVGSVGElement {
  return svg(
    "svg",
    { class: "icon", viewBox: "0 0 20 20", "aria-hidden": "true", focusable: "false" },
    ...ICONS[name].map((d) => svg("path", { d })),
  );
}

/** What symbols there are: strokes in a box of 20 by 20. */
const ICONS = {
  dice: [
    "M4 3.5h12a1 1 0 0 1 1 1v11a1 1 0 0 1-1 1H4a1 1 0 0 1-1-1v-11a1 1 0 0 1 1-1z",
    ...[[7, 7], [13, 7], [10, 10], [7, 13], [13, 13]].map(([x, y]) =>
      `M${x! - 0.5} ${y}a.5 .5 0 1 0 1 0a.5 .5 0 1 0-1 0z`
    ),
  ],
  lock: ["M5 9h10v7.5H5z", "M7 9V6.5a3 3 0 0 1 6 0V9"],
  unlock: ["M5 9h10v7.5H5z", "M7 9V6a3 3 0 0 1 5.8-1"],
  play: ["M6.5 4.5v11l9-5.5z"],
  pause: ["M7 4.5v11M13 4.5v11"],
  close: ["M5 5l10 10M15 5L5 15"],
  download: ["M10 3.5v9M6 9l4 4 4-4M4 16.5h12"],
  link: [
    "M8.5 11.5l3-3",
    "M9 6.5l2-2a3 3 0 0 1 4.5 4.5l-2 2M11 13.5l-2 2a3 3 0 0 1-4.5-4.5l2-2",
  ],
  trash: ["M4.5 6h11M8 6V4h4v2M6 6l.7 10.5h6.6L14 6"],
  sun: [
    "M10 7a3 3 0 1 0 0 6 3 3 0 0 0 0-6z",
    "M10 2.5v1.5M10 16v1.5M2.5 10H4M16 10h1.5M4.7 4.7l1 1M14.3 14.3l1 1M4.7 15.3l1-1M14.3 5.7l1-1",
  ],
  moon: ["M15.5 12.5A6.5 6.5 0 0 1 7.5 4.5a6.5 6.5 0 1 0 8 8z"],
  half: ["M10 3.5a6.5 6.5 0 1 0 0 13z", "M10 3.5a6.5 6.5 0 0 1 0 13"],
  open: ["M3.5 15.5v-10h4.5l1.5 2h7v8z"],
  again: ["M15.5 10a5.5 5.5 0 1 1-1.7-4M14.5 3v3.3h-3.3"],
} as const;

/** The name of a symbol. */
export type IconName = keyof typeof ICONS;
