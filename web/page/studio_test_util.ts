/** The page as tests open it: its files with the demo's weights, and what a server would answer. */
import { SafetensorsFile } from "@dit/core/io";
import { Checkpoint, DIT } from "@dit/core/pipeline";
import {
  browserMissing,
  type Page,
  type Served,
  type TestBrowser,
  type TestPage,
} from "../../tests/browser.ts";
import { ADDRESSES } from "../addresses.ts";
import { bundleModule } from "../bundle.ts";
import { describeModel } from "../model_info.ts";
import { PAGE_FILES } from "../page_files.ts";
import type { Site } from "../site.ts";

/** The demo's weights. */
export const WEIGHTS = new URL("../../cli/demo/mnist.safetensors", import.meta.url);

/** Runs that a server knows of, one with a picture. */
const RUNS = [
  { id: "000-a", title: "000-a", state: "going", step: 60, steps: 100, drawn: [50] },
  { id: "001-b", title: "001-b", state: "finished", step: 100, steps: 100, drawn: [] },
].map((run) => ({
  ...run,
  model: "DiT-Mini/4",
  trainee: "dit",
  written: 0,
  settings: { lr: 0.001 },
  checkpoint: run.id === "000-a" ? "demo" : null,
}));

/** `site.json`. */
export function siteJson(site: Partial<Site>): string {
  return JSON.stringify({ hasServer: false, trainingData: null, ...site } satisfies Site);
}

/**
 * All files: the page, the demo's model with its weights, and a model of a thousand classes without;
 * runs with what they measured. None where there is no browser.
 */
export async function studioFiles(): Promise<Map<string, Served>> {
  const files = new Map<string, Served>();
  if (browserMissing) return files;
  for (const { name, source, isBundled } of PAGE_FILES) {
    const file = isBundled ? bundleModule(source, { draft: true }) : Deno.readFile(source);
    files.set(name, await file);
  }
  const bytes = await Deno.readFile(WEIGHTS);
  using checkpoint = Checkpoint.of(await SafetensorsFile.open(bytes), DIT);
  const facts = { parameters: 1_283_600, bytes: bytes.length };
  const info = describeModel(checkpoint.header.config, { id: "demo", title: "Digits", ...facts });
  const classNames = Array.from({ length: 1000 }, (_, i) => `thing ${i}, res ${999 - i}`);
  const many = { ...info, id: "many", title: "A thousand things", classNames };
  files.set(ADDRESSES.site, siteJson({}));
  files.set(ADDRESSES.models, JSON.stringify({ models: [info, many] }));
  files.set(ADDRESSES.weights("demo"), bytes);
  files.set(ADDRESSES.runs, JSON.stringify({ runs: RUNS }));
  for (const { id, step } of RUNS) {
    const lines = Array.from({ length: step }, (_, i) => ({ step: i + 1, loss: 1 / (i + 1) }));
    const part = { lines, isFromStart: true, next: "", hasMore: false };
    files.set(ADDRESSES.metrics(id), JSON.stringify(part));
  }
  const picture = await Deno.readFile(new URL("../../docs/digits.png", import.meta.url));
  files.set(ADDRESSES.pictures("000-a", 50), picture);
  return files;
}

/** Opens the page in a window of a size, once it is ready. */
export async function openStudio(
  browser: TestBrowser,
  address: string,
  [width, height]: readonly [number, number] = [1280, 900],
): Promise<TestPage> {
  const opened = await browser.open(address);
  await opened.page.setViewport({ width, height });
  await opened.page.waitForSelector("html[data-ready]");
  return opened;
}

/**
 * Waits until a view says something, and gives all of it.
 *
 * @param view Its class.
 * @throws {Error} where it says that it failed instead.
 */
export async function says(page: Page, view: string, start: string): Promise<string> {
  const state = await page.waitForFunction(
    (view: string, start: string) => {
      const text = document.querySelector(`.${view} .state`)?.textContent ?? "";
      if (text.startsWith("It failed")) throw new Error(text);
      return text.startsWith(start) ? text : undefined;
    },
    {},
    view,
    start,
  );
  return await state.jsonValue() as string;
}
