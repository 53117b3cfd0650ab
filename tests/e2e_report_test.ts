/** The page of a run, seen through a real browser. */
import { assert, assertEquals } from "@std/assert";
import { expect } from "@std/expect";
import { decodeImage } from "@dit/data";
import { fromFileUrl, toFileUrl } from "@std/path";
import { command, commandTest, words } from "./commands.ts";
import { granted } from "./fixtures.ts";
import { writeTinyDigits } from "./tiny_digits.ts";

const [WIDTH, HEIGHT] = [1000, 2200];
const SCREENSHOT = fromFileUrl(new URL("screenshot.ts", import.meta.url));

async function browser(...args: string[]): Promise<Deno.CommandOutput> {
  const rights = ["--quiet", "--no-prompt", "--allow-run=chromium,google-chrome"];
  return await new Deno.Command("deno", { args: ["run", ...rights, SCREENSHOT, ...args] }).output();
}

/** A picture of a page. */
async function screenshot(page: string, out: string): Promise<Uint8Array> {
  const { success, stderr } = await browser(toFileUrl(page).href, out, `${WIDTH}`, `${HEIGHT}`);
  assert(success, new TextDecoder().decode(stderr));
  return await Deno.readFile(out);
}

const mayRun = granted({ name: "run", command: "deno" });
const missing = mayRun && !(await browser()).success ? "needs chromium" : undefined;

function browserTest(name: string, run: (folder: string) => Promise<void>): void {
  if (missing) Deno.test({ name: `${name} (${missing})`, ignore: true, fn() {} });
  else commandTest(name, run);
}

browserTest("a browser shows the curves and the samples of a run", async (folder) => {
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
  const page = `${folder}/results/000-DiT-Mini-4/report.html`;
  const bytes = await screenshot(page, `${folder}/page.png`);
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
