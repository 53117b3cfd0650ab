/** The page of a run, seen through a real browser. */
import { assert, assertEquals } from "@std/assert";
import { expect } from "@std/expect";
import { decodeImage } from "@dit/data";
import { toFileUrl } from "@std/path";
import { browserTest, openBrowser } from "./browser.ts";
import { command, words } from "./commands.ts";
import { tempDir } from "./fixtures.ts";
import { writeTinyDigits } from "./tiny_digits.ts";

const [WIDTH, HEIGHT] = [1000, 2200];

/** A picture of a page. */
async function screenshot(path: string): Promise<Uint8Array> {
  await using browser = await openBrowser();
  const { page, check } = await browser.open(toFileUrl(path).href);
  await page.setViewport({ width: WIDTH, height: HEIGHT });
  const bytes = await page.screenshot();
  check();
  return bytes;
}

browserTest("a browser shows the curves and the samples of a run", async () => {
  await using temporary = await tempDir();
  const folder = temporary.path;
  await writeTinyDigits(`${folder}/digits`, 30);
  const { code, err } = await command(
    "train",
    words(
      "--data digits --device wasm --hidden-size 16 --depth 1",
      "--num-heads 2 --batch-size 4 --steps 12 --log-every 1",
      "--sample-every 6 --sample-steps 2 --final-samples 0",
    ),
    folder,
  );
  assertEquals(code, 0, err);
  const bytes = await screenshot(`${folder}/results/000-DiT-Mini-4/report.html`);
  const { pixels, width, height } = await decodeImage(bytes);
  assertEquals([width, height], [WIDTH, HEIGHT]);
  const rows = (hit: (r: number, g: number, b: number) => boolean): number[] => {
    const found = new Set<number>();
    for (let i = 0; i < width * height; i++) {
      if (hit(pixels[3 * i]!, pixels[3 * i + 1]!, pixels[3 * i + 2]!)) {
        found.add(Math.floor(i / width));
      }
    }
    return [...found].sort((a, b) => a - b);
  };
  const curves = rows((r, g, b) => r === 0x25 && g === 0x63 && b === 0xeb);
  expect(curves.length, "expected curves").toBeGreaterThan(100);
  // the borders between the pictures of a grid are black, and nothing else on the page is so wide
  const black = rows((r, g, b) => r + g + b === 0);
  expect(black.filter((row) => row > curves.at(-1)!).length, "expected grids").toBeGreaterThan(100);
  assert(curves[0]! > 100, "expected text above the curves");
});
