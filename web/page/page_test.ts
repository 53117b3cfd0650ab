/** The studio's page in a browser: drawn with, by keyboard alone, cancelled, and what it keeps. */
import { assert, assertEquals } from "@std/assert";
import { openFile, SafetensorsFile } from "@dit/core/io";
import { Checkpoint, DIT, ImageSampler } from "@dit/core/pipeline";
import { init } from "@dit/core/tensor";
import { ADDRESSES } from "../addresses.ts";
import { bundleModule } from "../bundle.ts";
import { describeModel } from "../model_info.ts";
import { PAGE_FILES } from "../page_files.ts";
import type { Picture, SampleRequest } from "../protocol.ts";
import { samplePictures } from "../sampling.ts";
import {
  browserMissing,
  browserTest,
  openBrowser,
  type Page,
  type Served,
  serveFiles,
  type TestPage,
} from "../../tests/browser.ts";
import { problemsOf } from "./accessibility_test_util.ts";

const WEIGHTS = new URL("../../cli/demo/mnist.safetensors", import.meta.url);

/** What a server answers the page with, beside its files. */
const RUNS = [
  { id: "000-a", title: "000-a", state: "going", step: 60, steps: 100, drawn: [50] },
  { id: "001-b", title: "001-b", state: "finished", step: 100, steps: 100, drawn: [] },
].map((run) => ({
  ...run,
  model: "DiT-Mini/4",
  trainee: "dit",
  written: 0,
  settings: { lr: 0.001 },
  checkpoint: null,
}));

async function demo(): Promise<SafetensorsFile> {
  return await SafetensorsFile.from(await openFile(WEIGHTS.pathname));
}

/** The page with the demo's weights and a thousand classes of a second model, which has none. */
async function page(hasServer: boolean): Promise<Map<string, Served>> {
  const files = new Map<string, Served>();
  for (const { name, source, isBundled } of PAGE_FILES) {
    files.set(
      name,
      isBundled ? await bundleModule(source, { draft: true }) : await Deno.readFile(source),
    );
  }
  const bytes = await Deno.readFile(WEIGHTS);
  using checkpoint = Checkpoint.of(await demo(), DIT);
  const facts = { parameters: 1_283_600, bytes: bytes.length };
  const { config } = checkpoint.header;
  const info = describeModel(config, { id: "demo", title: "Digits", ...facts });
  const classNames = Array.from({ length: 1000 }, (_, i) => `thing ${i}, res ${999 - i}`);
  const many = { ...info, id: "many", title: "A thousand things", classNames };
  files.set(ADDRESSES.site, JSON.stringify({ hasServer, trainingData: null }));
  files.set(ADDRESSES.models, JSON.stringify({ models: [info, many] }));
  files.set(ADDRESSES.weights("demo"), bytes);
  files.set(ADDRESSES.runs, JSON.stringify({ runs: RUNS }));
  for (const { id, step } of RUNS) {
    const lines = Array.from({ length: step }, (_, i) => ({ step: i + 1, loss: 1 / (i + 1) }));
    const part = { lines, isFromStart: true, next: "", hasMore: false };
    files.set(ADDRESSES.metrics(id), JSON.stringify(part));
  }
  return files;
}

const files = browserMissing ? new Map<string, Served>() : await page(false);

/** What the same request gives in Deno. */
async function drawnByDeno(request: SampleRequest): Promise<Picture[]> {
  await init({ device: "wasm", wasm: { tier: "safe" } });
  using sampler = await ImageSampler.fromCheckpoint(await demo());
  return await samplePictures(sampler, request, { signal: { aborted: false }, onStep() {} });
}

async function open(
  browser: Awaited<ReturnType<typeof openBrowser>>,
  address: string,
  [width, height]: readonly [number, number] = [1280, 900],
): Promise<TestPage> {
  const opened = await browser.open(address);
  await opened.page.setViewport({ width, height });
  await opened.page.waitForSelector("html[data-ready]");
  return opened;
}

/** Waits until the stage says something. */
async function stageSays(page: Page, start: string): Promise<string> {
  const state = await page.waitForFunction(
    (start: string) => {
      const text = document.querySelector(".stage .state")?.textContent ?? "";
      if (text.startsWith("It failed") && !start.startsWith("It")) throw new Error(text);
      return text.startsWith(start) ? text : undefined;
    },
    {},
    start,
  );
  return await state.jsonValue() as string;
}

/** Presses the tab key until the element that has the focus is as described. */
async function tabTo(page: Page, selector: string): Promise<void> {
  for (let i = 0; i < 80; i++) {
    if (await page.evaluate((s) => document.activeElement?.matches(s) ?? false, selector)) return;
    await page.keyboard.press("Tab");
  }
  throw new Error(`the tab key does not reach ${selector}`);
}

/** Red of the pixels of every picture of the stage. */
async function pixels(page: Page): Promise<number[][]> {
  return await page.$$eval(".stage .contact canvas", (all) =>
    all.map((canvas) => {
      const { width, height } = canvas as HTMLCanvasElement;
      const { data } = (canvas as HTMLCanvasElement).getContext("2d")!
        .getImageData(0, 0, width, height);
      return [...data].filter((_, i) => i % 4 === 0);
    }));
}

browserTest("a digit is drawn by keyboard alone, kept, and its file brings it back", async () => {
  await using browser = await openBrowser();
  await using site = serveFiles(files, { isolated: true });
  const start = "?device=wasm#/draw?model=demo&labels=3&seed=5&count=1&steps=4&guidance=2";
  const opened = await open(browser, site.url + start);
  const { page } = opened;

  // the class 7 as well, then a number of steps, then the return key
  await tabTo(page, ".chips button:nth-child(8)");
  await page.keyboard.press("Space");
  await tabTo(page, ".slider input[type=number]");
  await page.keyboard.press("Enter");
  const said = await stageSays(page, "Drawn in");
  assert(/wasm .*in this browser$/.test(said), said);

  const request: SampleRequest = {
    model: "demo",
    pictures: [{ label: 3, seed: 5 }, { label: 7, seed: 5 }],
    sampler: "dpm++",
    steps: 4,
    eta: 0,
    guidance: 2,
    interval: null,
  };
  const expected = (await drawnByDeno(request)).map(({ rgba }) =>
    [...rgba].filter((_, i) => i % 4 === 0)
  );
  assertEquals(await pixels(page), expected);
  assert(page.url().includes("seed=5&"), "the address is that of what is shown");

  // the second picture, large, and back
  await tabTo(page, ".contact button");
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("Enter");
  await page.waitForSelector("dialog[open]");
  assertEquals(await page.$eval("dialog h2", (e) => e.textContent), "7 · seed 5");
  assert(await page.evaluate(() => document.activeElement!.closest("dialog") !== null));
  await page.keyboard.press("Escape");
  await page.waitForFunction(() => document.querySelector("dialog") === null);
  assertEquals(
    await page.evaluate(() => document.activeElement!.getAttribute("aria-label")),
    "7 · seed 5",
  );

  // its file, dropped on the page, which shows something else by then
  await page.evaluate(() => location.hash = "#/draw?model=demo&mode=seeds&labels=1&steps=9");
  await page.evaluate(async () => {
    const opening = indexedDB.open("dit-studio", 1);
    await new Promise((resolve) => opening.onsuccess = resolve);
    const all = opening.result.transaction("sheets").objectStore("sheets").getAll();
    await new Promise((resolve) => all.onsuccess = resolve);
    const data = new DataTransfer();
    data.items.add(new File([all.result[0].files[1]], "seven.png", { type: "image/png" }));
    for (const type of ["dragenter", "dragover", "drop"]) {
      const target = document.querySelector("main")!;
      target.dispatchEvent(new DragEvent(type, { dataTransfer: data, bubbles: true }));
    }
  });
  await page.waitForFunction(() =>
    document.querySelector(".notice")?.textContent?.includes("back")
  );
  assert(
    page.url().endsWith(
      "#/draw?model=demo&mode=pictures&labels=3,7&seed=5&count=1" +
        "&sampler=dpm%2B%2B&steps=4&eta=0&guidance=2",
    ),
    page.url(),
  );
  assertEquals(
    await page.$$eval(".classes:not([hidden]) [aria-pressed=true]", (all) => all.length),
    2,
  );

  // another file that has nothing to say
  await page.evaluate(() => {
    const data = new DataTransfer();
    data.items.add(new File(["GIF89a"], "cat.gif"));
    document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true }));
  });
  await page.waitForFunction(() =>
    document.querySelector(".notice.error")?.textContent?.includes("not a PNG file")
  );

  // the gallery stays when the page is loaded again, until it is cleared
  await page.goto(`${site.url}#/gallery`);
  await page.reload();
  await page.waitForSelector(".sheet-card");
  assertEquals((await page.$$(".thumbs button")).length, 2);
  page.on("dialog", (dialog) => void dialog.accept());
  await page.evaluate(() =>
    [...document.querySelectorAll("button")].find((b) => b.textContent?.includes("Clear"))!.click()
  );
  await page.waitForFunction(() => document.querySelector(".sheet-card") === null);
  await page.reload();
  await page.waitForSelector("html[data-ready]");
  assertEquals((await page.$$(".sheet-card")).length, 0);
  opened.check();
});

browserTest("drawings wait for each other, and end when they are cancelled", async () => {
  await using browser = await openBrowser();
  await using site = serveFiles(files);
  const start = "?device=wasm#/draw?model=demo&labels=3&seed=5&count=1&steps=1000";
  const opened = await open(browser, site.url + start);
  const { page } = opened;
  const draw = () => page.click(".panel .primary");
  await draw();
  await draw();
  await draw();
  await stageSays(page, "Step");
  const waiting = () => page.$$eval(".queue li .help", (all) => all.map((e) => e.textContent));
  assertEquals(await waiting(), ["1 of 2, in this browser", "2 of 2, in this browser"]);
  await page.click(".queue li:last-child button");
  assertEquals(await waiting(), ["1 of 1, in this browser"]);

  // the first one ends, and the other one runs
  await page.keyboard.press("Escape");
  await page.waitForFunction(() => document.querySelectorAll(".queue li").length === 0);
  await stageSays(page, "Step");
  await page.click(".stage .run button");
  await stageSays(page, "Cancelled");
  assertEquals(await page.$$eval(".contact button:not(:disabled)", (all) => all.length), 0);

  // the worker draws on, with another seed than before
  await page.evaluate(() =>
    location.hash = "#/draw?model=demo&mode=classes&labels=3&frames=3&steps=2"
  );
  await draw();
  await stageSays(page, "Drawn in");
  assertEquals((await page.$$(".strip canvas")).length, 3);
  await page.waitForSelector(".player [aria-label=Pause]");
  const seed = () => new URL(page.url().replace("#/draw", "")).searchParams.get("seed");
  const before = seed();
  await draw();
  await page.waitForFunction((before) => !location.hash.includes(`seed=${before}&`), {}, before);
  opened.check();
});

browserTest(
  "every control has a name, every text a contrast, and nothing is too wide",
  async () => {
    await using browser = await openBrowser();
    const served = new Map([...files, [ADDRESSES.site, '{"hasServer":true,"trainingData":null}']]);
    const picture = await Deno.readFile(new URL("../../docs/digits.png", import.meta.url));
    served.set(ADDRESSES.pictures("000-a", 50), picture);
    await using site = serveFiles(served);
    const opened = await open(browser, `${site.url}#/draw?model=many&labels=7`, [360, 740]);
    const { page } = opened;
    await page.click("[role=combobox]");
    await page.keyboard.type("res 99");
    await page.keyboard.press("ArrowDown");
    assertEquals(
      await page.$eval("[role=option][aria-selected=true] span", (e) => e.textContent),
      "thing 0, res 999",
    );
    const problems: string[] = [];
    for (const theme of ["light", "dark"]) {
      await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: theme }]);
      for (const view of ["draw", "gallery", "runs"]) {
        await page.evaluate((view) => location.hash = `#/${view}`, view);
        await page.waitForFunction(
          (view) => {
            const section = document.querySelector<HTMLElement>(`section[data-view=${view}]`)!;
            return !section.hidden && (view !== "runs" || section.querySelector(".curve"));
          },
          {},
          view,
        );
        for (const [width, height] of [[360, 740], [1440, 900]] as const) {
          await page.setViewport({ width, height });
          const found = await problemsOf(page);
          problems.push(...found.map((problem) => `${theme} ${view} ${width}: ${problem}`));
        }
      }
    }
    assertEquals(problems, []);
    opened.check();
  },
);
