/** Pictures on canvases. */
import type { Picture } from "../../protocol.ts";
import { h } from "./dom.ts";

/** Widest picture whose pixels are shown as squares when it is enlarged. */
const CRISP = 96;

/** A canvas that shows a picture; screen readers are told of it by what is around it. */
export function canvasOf(picture?: Picture): HTMLCanvasElement {
  const canvas = h("canvas", { "aria-hidden": "true", width: 1, height: 1 });
  if (picture) paint(canvas, picture);
  return canvas;
}

/** Shows a picture on a canvas. */
export function paint(canvas: HTMLCanvasElement, { width, height, rgba }: Picture): void {
  fit(canvas, width, height);
  canvas.getContext("2d")!.putImageData(new ImageData(rgba, width, height), 0, 0);
}

/** Shows a PNG file on a canvas. */
export async function paintFile(canvas: HTMLCanvasElement, file: Blob): Promise<void> {
  const bitmap = await createImageBitmap(file);
  fit(canvas, bitmap.width, bitmap.height);
  canvas.getContext("2d")!.drawImage(bitmap, 0, 0);
  bitmap.close();
}

/** Files of canvases that have not been seen yet. */
const unseen = new WeakMap<Element, Blob>();

let watch: IntersectionObserver | undefined;

/** Shows a PNG file on a canvas once that is about to be seen: a gallery may have thousands. */
export function paintWhenSeen(canvas: HTMLCanvasElement, file: Blob): void {
  watch ??= new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      const file = unseen.get(target);
      if (!isIntersecting || file === undefined) continue;
      watch!.unobserve(target);
      unseen.delete(target);
      paintFile(target as HTMLCanvasElement, file).catch(() => {}); // it stays an empty frame
    }
  }, { rootMargin: "50%" });
  unseen.set(canvas, file);
  watch.observe(canvas);
}

function fit(canvas: HTMLCanvasElement, width: number, height: number): void {
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  canvas.classList.toggle("crisp", width <= CRISP);
}
