/** Folders of made pictures, for commands that read images. */
import { encodePng } from "@dit/data";

/** Side of the pictures. */
const SIDE = 32;

/**
 * Writes coloured discs on grey, `each` of them for every class, in the same place every time.
 *
 * @param classes Names of subfolders; none puts the pictures into `folder` itself.
 */
export async function writePictures(
  folder: string,
  classes: readonly string[],
  each: number,
): Promise<void> {
  for (const [c, name] of (classes.length > 0 ? classes : ["."]).entries()) {
    await Deno.mkdir(`${folder}/${name}`, { recursive: true });
    for (let i = 0; i < each; i++) {
      const pixels = new Uint8Array(SIDE * SIDE * 3).fill(200);
      const [x0, y0] = [8 + (i * 7 + c * 3) % 16, 8 + (i * 5) % 16];
      for (let at = 0; at < SIDE * SIDE; at++) {
        if (Math.hypot(at % SIDE - x0, Math.floor(at / SIDE) - y0) > 4 + i % 4) continue;
        pixels.set([(i * 53) % 256, (c * 97) % 256, (i * 31 + 100) % 256], at * 3);
      }
      const png = await encodePng(pixels, SIDE, SIDE, 3);
      await Deno.writeFile(`${folder}/${name}/${String(i).padStart(3, "0")}.png`, png);
    }
  }
}
