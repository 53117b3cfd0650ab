/** Visits a static page and times what it does; prints JSON. Started by `bench/page.ts`. */
import { bundleModule } from "@dit/web";
import { openBrowser, serveFiles } from "../../tests/browser.ts";
import { filesOf } from "../../tests/files_of.ts";
import type { TrainingRequest } from "../../web/trainer.ts";

/** What to do. */
export interface PageJob {
  /** Folder of the page. */
  readonly site: string;
  readonly training: TrainingRequest;
  /** Steps of a picture; the page's usual ones where it is null. */
  readonly drawingSteps: number | null;
}

/** Seconds from the beginning of the visit, and of another picture after it. */
export interface DrawingTimes {
  readonly device: string;
  readonly ready: number;
  readonly preview: number;
  readonly finished: number;
  readonly next: number;
}

/** What it took. */
export interface PageTimes {
  readonly drawings: readonly DrawingTimes[];
  readonly steps: readonly { readonly device: string; readonly seconds: number }[];
}

const { site, training, drawingSteps }: PageJob = JSON.parse(Deno.args[0]!);

/** Where a page is opened: with threads or without, and on what it computes. */
const PLACES = [
  { isolated: false, device: "wasm", trains: true },
  { isolated: true, device: "wasm", trains: true },
  { isolated: false, device: "webgpu", trains: false },
] as const;

const files = await filesOf(site);
files.set("calls.js", await bundleModule(new URL("calls.ts", import.meta.url), { draft: true }));
const drawings: DrawingTimes[] = [];
const steps: { device: string; seconds: number }[] = [];
for (const { isolated, device, trains } of PLACES) {
  await using server = serveFiles(files, { isolated });
  await using browser = await openBrowser();
  // a visitor's browser runs before the page is opened
  await (await browser.open(`${server.url}icon.svg`)).close();
  const begun = performance.now();
  const { page, check } = await browser.open(`${server.url}?device=${device}`);
  await page.waitForSelector("html[data-ready]");
  const ready = (performance.now() - begun) / 1000;
  const call = async <T>(name: string, ...args: unknown[]): Promise<T> => {
    const given = args.map((arg) => JSON.stringify(arg)).join(", ");
    return await page.evaluate(`import('./calls.js').then((m) => m.${name}(${given}))`) as T;
  };
  const first = await call<{ device: string; preview: number; finished: number }>(
    "drawFirst",
    device,
    drawingSteps,
  );
  const since = ready; // the call begins when the page is ready
  drawings.push({
    device: first.device,
    ready,
    preview: since + first.preview,
    finished: since + first.finished,
    next: await call<number>("drawNext"),
  });
  if (trains) steps.push(await call("trainSteps", device, training));
  check();
}
console.log(JSON.stringify({ drawings, steps } satisfies PageTimes));
