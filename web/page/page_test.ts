/** The studio's page in a browser: drawn with, by keyboard alone, cancelled, and what it keeps. */
import { assert, assertEquals } from "@std/assert";
import { SafetensorsFile } from "@dit/core/io";
import { ImageSampler } from "@dit/core/pipeline";
import { init } from "@dit/core/tensor";
import { browserTest, openBrowser, type Page, serveFiles } from "../../tests/browser.ts";
import { ADDRESSES } from "../addresses.ts";
import type { Picture, SampleRequest } from "../protocol.ts";
import { samplePictures } from "../sampling.ts";
import { problemsOf } from "./accessibility_test_util.ts";
import { trainingImages, trainingPlan } from "./training_test_util.ts";
import { openStudio, says, siteJson, studioFiles, WEIGHTS } from "./studio_test_util.ts";

const files = await studioFiles();

/** What the same request gives in Deno. */
async function drawnByDeno(request: SampleRequest): Promise<Picture[]> {
  await init({ device: "wasm", wasm: { tier: "safe" } });
  using sampler = await ImageSampler.fromCheckpoint(
    await SafetensorsFile.open(await Deno.readFile(WEIGHTS)),
  );
  return await samplePictures(sampler, request, { signal: { aborted: false }, onStep() {} });
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
  const opened = await openStudio(browser, site.url + start);
  const { page } = opened;

  // the class 7 as well, no other seed although it is cleared, a number of steps, the return key
  await tabTo(page, ".chips button:nth-child(8)");
  await page.keyboard.press("Space");
  await tabTo(page, ".seed input");
  await page.keyboard.press("Backspace");
  await tabTo(page, ".slider input[type=number]");
  await page.keyboard.press("Enter");
  const said = await says(page, "stage", "Drawn in");
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

  // its file, dropped on the page, which shows something else by then, though the page wrote its own
  // address before it heard of another
  await page.evaluate(() => {
    const before = location.href;
    location.hash = "#/draw?model=demo&mode=seeds&labels=1&steps=9";
    history.replaceState(null, "", before);
  });
  await page.waitForFunction(() => location.hash.includes("steps=9"));
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

browserTest("clearing the gallery leaves what another tab has drawn meanwhile", async () => {
  await using browser = await openBrowser();
  await using site = serveFiles(files);
  const tabs = [];
  for (const seed of [1, 2]) {
    const start = `?tab=${seed}&device=wasm#/draw?model=demo&labels=3&seed=${seed}&count=1&steps=1`;
    tabs.push(await openStudio(browser, site.url + start));
  }
  const [first, second] = tabs as [typeof tabs[0], typeof tabs[0]];
  for (const { page } of tabs) {
    await page.bringToFront();
    await page.click(".panel .primary");
    await says(page, "stage", "Drawn in");
    await page.waitForSelector(".roll button");
  }
  first.page.on("dialog", (dialog) => void dialog.accept());
  await first.page.bringToFront();
  await first.page.evaluate(() =>
    [...document.querySelectorAll("button")].find((b) => b.textContent?.includes("Clear"))!.click()
  );
  await first.page.waitForFunction(() => document.querySelector(".sheet-card") === null);
  await second.page.bringToFront();
  await second.page.reload();
  await second.page.waitForSelector("html[data-ready]");
  assertEquals(
    await second.page.$$eval(".sheet-card h2", (all) => all.map((e) => e.textContent)),
    ["3 · seed 2"],
  );
  for (const { check } of tabs) check();
});

browserTest("charts stay in sight below many runs, however often these are read", async () => {
  await using browser = await openBrowser();
  const { runs: [run] } = JSON.parse(files.get(ADDRESSES.runs) as string);
  const more = Array.from({ length: 99 }, (_, i) => ({ ...run, id: `b${i}`, state: "ended" }));
  const served = new Map([
    ...files,
    [ADDRESSES.site, siteJson({ hasServer: true })],
    [ADDRESSES.runs, JSON.stringify({ runs: [run, ...more] })],
  ]);
  await using site = serveFiles(served);
  const { page, check } = await openStudio(browser, `${site.url}#/runs`, [1280, 600]);
  await page.waitForSelector(".curve");
  const top = await page.$eval(".curve", (e) => e.getBoundingClientRect().top);
  assert(top < 900, `the first chart begins ${top} pixels below`);
  await page.focus("tbody input");
  const before = await page.evaluate(() => {
    scrollTo(0, document.body.scrollHeight);
    return scrollY;
  });
  const looks = () => site.requests.filter((path) => path === ADDRESSES.runs).length;
  for (const known = looks(); looks() < known + 2;) await new Promise((go) => setTimeout(go, 100));
  assertEquals(await page.evaluate(() => [scrollY, document.activeElement!.tagName]), [
    before,
    "INPUT",
  ]);
  check();
});

browserTest("drawings wait for each other, and end when they are cancelled", async () => {
  await using browser = await openBrowser();
  await using site = serveFiles(files);
  const start = "?device=wasm#/draw?model=demo&labels=3&seed=5&count=1&steps=1000";
  const opened = await openStudio(browser, site.url + start);
  const { page } = opened;
  const draw = () => page.click(".panel .primary");
  await draw();
  await draw();
  await draw();
  await says(page, "stage", "Step");
  const waiting = () => page.$$eval(".queue li .help", (all) => all.map((e) => e.textContent));
  assertEquals(await waiting(), ["1 of 2, in this browser", "2 of 2, in this browser"]);
  await page.click(".queue li:last-child button");
  assertEquals(await waiting(), ["1 of 1, in this browser"]);

  // the first one ends, and the other one runs
  await page.keyboard.press("Escape");
  await page.waitForFunction(() => document.querySelectorAll(".queue li").length === 0);
  await says(page, "stage", "Step");
  await page.click(".stage .run button");
  await says(page, "stage", "Cancelled");
  assertEquals(await page.$$eval(".contact button:not(:disabled)", (all) => all.length), 0);

  // the worker draws on, with another seed than before
  await page.evaluate(() =>
    location.hash = "#/draw?model=demo&mode=classes&labels=3&frames=3&steps=2"
  );
  await draw();
  await says(page, "stage", "Drawn in");
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
    const served = new Map(
      [
        ...files,
        [ADDRESSES.site, siteJson({ hasServer: true, trainingData: "training.json" })],
        ["training.json", JSON.stringify(trainingPlan())],
      ] as const,
    );
    await using site = serveFiles(served);
    const opened = await openStudio(browser, `${site.url}#/draw?model=many&labels=7`, [360, 740]);
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
      for (const view of ["draw", "gallery", "runs", "train"]) {
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

browserTest("what a page lacks is said, with what to do", async () => {
  await using browser = await openBrowser();
  await using site = serveFiles(files);
  const { page, check } = await browser.open(`${site.url}icon.svg`);
  const lacking = async (name: string, address: string): Promise<string> => {
    const { identifier } = await page.evaluateOnNewDocument(`delete globalThis.${name}`);
    await page.goto(site.url + address);
    await page.waitForSelector("html[data-ready], main > [role=alert]");
    await page.removeScriptToEvaluateOnNewDocument(identifier);
    return await page.$eval("main", (main) => main.innerText);
  };
  assert((await lacking("Worker", "?1")).includes("has no workers for pages"));
  assert((await lacking("Float16Array", "?2")).includes("Update it: Chrome"));
  assert((await lacking("indexedDB", "?3#/gallery")).includes("Nothing yet"));
  const slow = await lacking("navigator.__proto__.gpu", "?4#/draw?model=many&count=1");
  assert(slow.includes("Without WebGPU"), slow);

  // weights that its host has lost
  await page.click(".panel .primary");
  await page.waitForSelector(".notice.error");
  const notice = await page.$eval(".notice.error", (e) => e.textContent!);
  assert(/^1 picture failed: .*weights\.safetensors.* 404/.test(notice), notice);
  try {
    check();
  } catch (error) { // what was missing, and nothing else
    const rest = (error as Error).message.replaceAll(
      /[^;]*(cannot|too old|workers|404)[^;]*;?/g,
      "",
    );
    assertEquals(rest.replaceAll(/the page failed:|\s/g, ""), "");
  }
});

browserTest("runs are seen side by side, and their checkpoints drawn with", async () => {
  await using browser = await openBrowser();
  await using site = serveFiles(
    new Map([...files, [ADDRESSES.site, siteJson({ hasServer: true })]]),
  );
  const opened = await openStudio(browser, `${site.url}#/runs`);
  const { page } = opened;
  const shown = () =>
    page.$$eval(".runs .chart:first-child .curve:not(.faint)", (all) => all.length);
  await page.waitForSelector(".curve");
  assertEquals(await shown(), 1); // the one that is going
  assertEquals(
    await page.$eval(".run-pictures img", (e) => (e as HTMLImageElement).alt),
    "What 000-a drew after step 50",
  );
  await page.click("tbody tr:nth-child(2) input");
  await page.waitForFunction(() =>
    document.querySelectorAll(".runs .curve:not(.faint)").length === 2
  );
  const label = await page.$eval(".chart svg", (e) => e.getAttribute("aria-label"));
  assertEquals(
    label,
    "Loss. 000-a: from 1 at step 1 to 0.0167 at step 60; 001-b: from 1 at step 1 to 0.01 at step 100",
  );
  await page.click("tbody a");
  await page.waitForFunction(() => document.activeElement?.textContent === "Draw");
  await page.waitForFunction(() => location.hash.startsWith("#/draw?model=demo&mode=pictures"));
  opened.check();
});

browserTest("a network learns in the page, and draws there", async () => {
  await using browser = await openBrowser();
  const images = await trainingImages();
  await using site = serveFiles(
    new Map(
      [
        ...files,
        [ADDRESSES.site, siteJson({ trainingData: "training.json" })],
        ["training.json", JSON.stringify(trainingPlan(images.length))],
        ["images.bin", images],
      ] as const,
    ),
  );
  const opened = await openStudio(browser, `${site.url}?device=wasm#/train`);
  const { page } = opened;
  await page.click(".train .primary");
  await says(page, "train", "Trained 30 steps in");
  const curve = await page.$eval(".train .chart svg", (e) => e.getAttribute("aria-label")!);
  const [, first, last] = /from (\S+) at step 1 to (\S+) at step 30$/.exec(curve)!;
  assert(Number(last) < Number(first) / 2, curve);
  assertEquals((await page.$$(".train .contact canvas")).length, 6);
  assertEquals(await page.$eval(".train .rewind output", (e) => e.textContent), "step 30");

  // what was trained draws
  await page.click(".train .buttons button");
  await page.waitForFunction(() => document.activeElement?.textContent === "Draw");
  assertEquals(
    await page.$eval("#model", (e) => (e as HTMLSelectElement).selectedOptions[0]!.textContent),
    "Bars, trained here, step 30",
  );
  await page.click(".panel .primary");
  await says(page, "stage", "Drawn in");

  // another training, stopped: its weights are there as well
  await page.evaluate(() => location.hash = "#/train");
  await page.type(".train input[type=number]", "00");
  await page.click(".train .primary");
  assert((await says(page, "train", "Step")).includes(" of 3000"));
  await page.click(".train .primary:not([hidden])");
  const said = await says(page, "train", "Trained");
  assert(Number(/\d+/.exec(said)![0]) < 3000, said);
  opened.check();
});
