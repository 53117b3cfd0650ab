/** What of a page keeps people from using it: controls without names, faint texts, cut off widths. */
import type { Page } from "../../tests/browser.ts";

/** Roles of what is used, which all need names. */
const CONTROLS = [
  ...["button", "link", "textbox", "combobox", "slider", "spinbutton", "checkbox", "radio"],
  ...["listbox", "option", "tab", "switch", "image", "img", "dialog", "progressbar"],
];

interface AxNode {
  readonly ignored: boolean;
  readonly role?: { readonly value: string };
  readonly name?: { readonly value: string };
}

/** Problems of what a page shows at the moment, each in a line. */
export async function problemsOf(page: Page): Promise<string[]> {
  const client = await page.createCDPSession();
  const { nodes } = await client.send("Accessibility.getFullAXTree") as unknown as {
    nodes: AxNode[];
  };
  await client.detach();
  const nameless = nodes.filter(({ ignored, role, name }) =>
    !ignored && CONTROLS.includes(role?.value ?? "") && (name?.value ?? "").trim() === ""
  );
  const controls = nodes.filter(({ ignored, role }) =>
    !ignored && CONTROLS.includes(role?.value ?? "")
  );
  const few = controls.length < 5 ? [`only ${controls.length} controls were found`] : [];
  return [
    ...few,
    ...nameless.map(({ role }) => `a ${role!.value} without a name`),
    ...await page.evaluate(seen),
  ];
}

/** Runs in the page. */
function seen(): string[] {
  const problems: string[] = [];
  const { scrollWidth, clientWidth } = document.documentElement;
  if (scrollWidth > clientWidth) problems.push(`${scrollWidth} pixels wide in ${clientWidth}`);
  const ids = [...document.querySelectorAll("[id]")].map(({ id }) => id);
  for (const id of new Set(ids.filter((id, i) => ids.indexOf(id) !== i))) {
    problems.push(`two elements with the id ${id}`);
  }

  // colours as the browser computes them, whatever they are written as
  const context = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true })!;
  const rgba = (colour: string): number[] => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data];
  };
  const over = ([r, g, b, a]: number[], below: number[]): number[] =>
    [r, g, b].map((value, i) => (value! * a! + below[i]! * (255 - a!)) / 255);
  const behind = (element: Element | null): number[] => {
    if (element === null) return [255, 255, 255];
    const colour = rgba(getComputedStyle(element).backgroundColor);
    return colour[3] === 255 ? colour.slice(0, 3) : over(colour, behind(element.parentElement));
  };
  const luminance = (colour: number[]): number => {
    const [r, g, b] = colour.map((value) => {
      const x = value / 255;
      return x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r! + 0.7152 * g! + 0.0722 * b!;
  };

  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement!;
    const text = node.textContent!.trim();
    if (text === "" || !element.checkVisibility({ visibilityProperty: true })) continue;
    if (element.closest(".unseen, .skip, :disabled") !== null) continue;
    const style = getComputedStyle(element);
    const isSvg = element instanceof SVGElement;
    const ground = behind(element);
    const ink = over(rgba(isSvg ? style.fill : style.color), ground);
    const [a, b] = [luminance(ink), luminance(ground)];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) problems.push(`a contrast of ${contrast.toFixed(1)} of "${text}"`);
  }
  return problems;
}
