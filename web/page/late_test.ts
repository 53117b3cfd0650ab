/** The page where answers are late, come after the visitor has gone on, or not at all. */
import { assert, assertEquals } from "@std/assert";
import { browserTest, openBrowser, type Page, serveFiles } from "../../tests/browser.ts";
import { ADDRESSES } from "../addresses.ts";
import { encodeFrame, type WireEvent } from "../frames.ts";
import { openStudio, says, siteJson, studioFiles } from "./studio_test_util.ts";
import { trainingImages, trainingPlan } from "./training_test_util.ts";

const files = await studioFiles();

/**
 * Where answers wait until the test lets them through, at its end at the latest: before its server
 * ends, which waits for them.
 */
class Gate implements Disposable {
  readonly #opened = Promise.withResolvers<null>();
  readonly passed = this.#opened.promise;
  /** What is called where something waits. */
  readonly reached = Promise.withResolvers<void>();

  wait(): Promise<null> {
    this.reached.resolve();
    return this.passed;
  }

  open(): void {
    this.#opened.resolve(null);
  }

  [Symbol.dispose](): void {
    this.open();
  }
}

/** The answers to requests to sample, in order, which the test gives. */
class Sampled implements Disposable {
  readonly #answers: ReadableStreamDefaultController<Uint8Array>[] = [];
  #more = Promise.withResolvers<void>();

  answer(): Response {
    return new Response(
      new ReadableStream({
        start: (controller) => {
          this.#answers.push(controller);
          this.#more.resolve();
          this.#more = Promise.withResolvers();
        },
      }),
    );
  }

  /** Tells the request of a number something, once there is that request. */
  async tell(index: number, event: WireEvent): Promise<void> {
    while (this.#answers.length <= index) await this.#more.promise;
    this.#answers[index]!.enqueue(encodeFrame(event));
  }

  [Symbol.dispose](): void {
    for (const answer of this.#answers) {
      try {
        answer.close();
      } catch { // the page has left
      }
    }
  }
}

/** A drawing that is done. */
function done(count = 1): WireEvent {
  const rgba = new Uint8ClampedArray(4 * 28 * 28).fill(255);
  const pictures = Array.from({ length: count }, () => ({ width: 28, height: 28, rgba }));
  return { kind: "done", pictures, seconds: 1, device: "a server" };
}

/** Presses "Draw", wherever the focus is. */
function draw(page: Page): Promise<void> {
  return page.$eval(".panel", (form) => (form as HTMLFormElement).requestSubmit());
}

/** Chooses where to draw. */
async function choose(page: Page, place: string): Promise<void> {
  await page.$$eval(".choice label", (labels, place) => {
    (labels as HTMLElement[]).find(({ textContent }) => textContent === place)!.click();
  }, place);
}

const model = (page: Page) => page.$eval("#model", (e) => (e as HTMLSelectElement).value);

browserTest("a drawing is drawn although the one before it does not end", async () => {
  let asked = 0;
  await using site = serveFiles(files, {
    // the first time, as the page gets ready for the model, there is no answer
    handle: ({ url }) =>
      url.endsWith(ADDRESSES.weights("demo")) && ++asked === 1 ? weights.wait() : null,
  });
  using weights = new Gate();
  await using browser = await openBrowser();
  const start = "?device=wasm#/draw?model=demo&labels=3&count=1&steps=1";
  const { page, check } = await openStudio(browser, site.url + start);
  await weights.reached.promise;
  await draw(page);
  await page.keyboard.press("Escape");
  await says(page, "stage", "Cancelled");
  await draw(page);
  await says(page, "stage", "Drawn in");
  check();
});

browserTest("a link that is followed before there are models shows its model", async () => {
  const { runs } = JSON.parse(files.get(ADDRESSES.runs) as string);
  const served = new Map([
    ...files,
    [ADDRESSES.site, siteJson({ hasServer: true })],
    [ADDRESSES.runs, JSON.stringify({ runs: [{ ...runs[0], checkpoint: "many" }] })],
  ]);
  await using site = serveFiles(served, {
    handle: ({ url }) => url.endsWith(ADDRESSES.models) ? models.wait() : null,
  });
  using models = new Gate();
  await using browser = await openBrowser();
  const { page, check } = await browser.open(`${site.url}#/runs`);
  await page.waitForSelector("tbody a");
  await models.reached.promise;
  await page.$eval("tbody a", (link) => (link as HTMLElement).click());
  await page.waitForFunction(() => location.hash.startsWith("#/draw"));
  models.open();
  await page.waitForSelector("html[data-ready]");
  assertEquals(await model(page), "many");
  check();
});

browserTest("a link to a new model is followed, unless the visitor goes on meanwhile", async () => {
  const all = JSON.parse(files.get(ADDRESSES.models) as string).models;
  let isHeld = false;
  let known = all.slice(0, 1); // the others are new
  await using site = serveFiles(
    new Map([...files, [ADDRESSES.site, siteJson({ hasServer: true })]]),
    {
      async handle({ url }) {
        if (!url.endsWith(ADDRESSES.models)) return null;
        if (isHeld) await gate.wait();
        return Response.json({ models: known });
      },
    },
  );
  using gate = new Gate();
  await using browser = await openBrowser();
  const { page, check } = await openStudio(browser, `${site.url}?device=wasm#/draw?model=demo`);
  const follow = (link: string) => page.evaluate((link) => location.hash = link, link);
  const chosen = (id: string) =>
    page.waitForFunction(
      (id) => document.querySelector<HTMLSelectElement>("#model")!.value === id,
      {},
      id,
    );
  for (const place of ["Server", "This browser"]) {
    known = all.slice(0, 1);
    await choose(page, place);
    await page.waitForFunction(() => document.querySelectorAll("#model option").length === 1);
    known = all;
    await follow("#/draw?model=many&labels=7");
    await chosen("many");
    await follow("#/draw?model=demo");
    await chosen("demo");
    await follow("#/draw?model=none");
    await page.waitForFunction(() =>
      document.querySelector(".notice.error")?.textContent?.includes("is not here")
    );
    await page.click(".notice.error button");
  }

  // another link before there is an answer about the first one
  isHeld = true;
  known = [...all, { ...all[0], id: "newest", title: "The newest" }];
  await follow("#/draw?model=newest&labels=1");
  await gate.reached.promise;
  await follow("#/draw?model=demo&labels=2&steps=7");
  await page.waitForFunction(() => location.hash.includes("steps=7"));
  gate.open();
  await page.waitForSelector("#model [value=newest]");
  assertEquals(await model(page), "demo");
  assert(page.url().includes("steps=7"), page.url());
  check();
});

browserTest(
  "what is in sight can be cancelled and opened, whatever is drawn elsewhere",
  async () => {
    await using site = serveFiles(
      new Map([...files, [ADDRESSES.site, siteJson({ hasServer: true })]]),
      {
        handle({ url, method }) {
          if (method === "POST" && url.endsWith(ADDRESSES.sample)) return sampled.answer();
          if (url.endsWith(ADDRESSES.weights("demo"))) return weights.wait();
          if (!url.endsWith(ADDRESSES.weights("many"))) return null;
          return many.wait().then(() => new Response(files.get(ADDRESSES.weights("demo"))));
        },
      },
    );
    using weights = new Gate();
    using many = new Gate();
    using sampled = new Sampled();
    await using browser = await openBrowser();
    const start = "?device=wasm#/draw?model=demo&labels=3&count=1&steps=1";
    const { page, check } = await openStudio(browser, site.url + start);

    // one here, between two on the server, the second of which is in sight when it is cancelled
    await draw(page);
    await choose(page, "This browser");
    await draw(page);
    await choose(page, "Server");
    await draw(page);
    await page.waitForSelector(".queue li");
    await sampled.tell(0, done());
    await page.waitForFunction(() => document.querySelector(".queue li") === null);
    await page.keyboard.press("Escape");
    await says(page, "stage", "Cancelled");

    // the one here comes into sight as it ends; the focus stays beside it
    await page.waitForSelector(".roll button");
    await page.focus(".roll button");
    weights.open();
    await says(page, "stage", "Drawn in");
    await page.waitForFunction(() => document.querySelectorAll(".roll button").length === 2);
    assert(await page.evaluate(() => document.activeElement!.matches(".roll button")));

    // another one is in sight as it ends, and can be opened when the server has drawn one after it
    await page.evaluate(() => location.hash = "#/draw?model=many&labels=3&count=1&steps=1");
    await page.waitForFunction(() => location.hash.includes("model=many"));
    await choose(page, "This browser");
    await draw(page);
    await says(page, "stage", "Prepares");
    await choose(page, "Server");
    await draw(page);
    await sampled.tell(2, { kind: "queued", ahead: 0 });
    many.open();
    await says(page, "stage", "Drawn in");
    await sampled.tell(2, done());
    await page.waitForFunction(() => document.querySelectorAll(".roll button").length === 4);
    await page.$eval(".contact button", (button) => {
      for (let i = 0; i < 2; i++) (button as HTMLElement).click(); // quickly
    });
    await page.waitForSelector("dialog[open]");
    assertEquals((await page.$$("dialog")).length, 1);
    await page.keyboard.press("Escape");

    // nothing of one way from seed to seed is shown as that of another
    await page.evaluate(() =>
      location.hash = "#/draw?model=demo&mode=seeds&labels=3&frames=3&steps=1"
    );
    await page.waitForSelector(".panel [id^=number][max='32']");
    await draw(page);
    await sampled.tell(3, done(3));
    await page.waitForFunction(() =>
      document.querySelector(".player .caption")!.textContent !== ""
    );
    await draw(page);
    await says(page, "stage", "Prepares");
    assertEquals(await page.$eval(".player .caption", (e) => e.textContent), "");
    check();
  },
);

browserTest("what a visitor may be pressing stays while runs are read again", async () => {
  const { runs: [run] } = JSON.parse(files.get(ADDRESSES.runs) as string);
  let looks = 0;
  let looked = Promise.withResolvers<void>();
  await using site = serveFiles(
    new Map([...files, [ADDRESSES.site, siteJson({ hasServer: true })]]),
    {
      handle({ url }) {
        if (!url.endsWith(ADDRESSES.runs)) return null;
        looked.resolve();
        looked = Promise.withResolvers();
        return Response.json({ runs: [{ ...run, step: 60 + ++looks }] });
      },
    },
  );
  await using browser = await openBrowser();
  const { page, check } = await openStudio(browser, `${site.url}#/runs`);
  await page.waitForSelector(".curve");
  const row = (await page.$("tbody tr"))!;
  const pressed = (await row.$$("input, a"))!;
  const step = await row.$eval("td:nth-child(4)", (cell) => cell.textContent);
  await page.waitForFunction(
    (step) => document.querySelector("tbody td:nth-child(4)")!.textContent !== step,
    {},
    step,
  );
  assertEquals(pressed.length, 2);
  for (const element of pressed) assert(await element.evaluate((e) => e.isConnected));
  check();
});

browserTest(
  "training starts once however it is clicked, and stops while its data load",
  async () => {
    const images = await trainingImages();
    let [plans, isHeld] = [0, false];
    const served = new Map(
      [
        ...files,
        [ADDRESSES.site, siteJson({ trainingData: "training.json" })],
        ["training.json", JSON.stringify(trainingPlan(images.length))],
        ["images.bin", images],
      ] as const,
    );
    await using site = serveFiles(served, {
      handle({ url }) {
        // the plan cannot be had at first
        if (url.endsWith("training.json") && ++plans === 1) {
          return new Response(null, { status: 503 });
        }
        return url.endsWith("images.bin") && isHeld ? data.wait() : null;
      },
    });
    using data = new Gate();
    await using browser = await openBrowser();
    const { page } = await openStudio(browser, `${site.url}?device=wasm#/train`);
    await page.waitForSelector(".notice.error");
    await page.click(".train .primary");
    await says(page, "train", "Trained 30 steps in");

    isHeld = true;
    await page.click(".train .primary");
    await data.reached.promise;
    await page.click(".train .primary:not([hidden])");
    await says(page, "train", "Stopped before the first step");
    assertEquals(await page.$eval(".train .buttons", (e) => (e as HTMLElement).hidden), true);
    isHeld = false; // two quick clicks are one
    await page.click(".train .primary", { count: 2 });
    await says(page, "train", "Trained 30 steps in");
  },
);

browserTest("a run that cannot be read is named, and the others are shown", async () => {
  const { runs } = JSON.parse(files.get(ADDRESSES.runs) as string);
  const going = runs.map((run: object) => ({ ...run, state: "going" }));
  const served = new Map([
    ...files,
    [ADDRESSES.site, siteJson({ hasServer: true })],
    [ADDRESSES.runs, JSON.stringify({ runs: going })],
  ]);
  await using site = serveFiles(served, {
    handle: ({ url }) =>
      url.endsWith(ADDRESSES.metrics(runs[0].id)) ? new Response("damaged", { status: 500 }) : null,
  });
  await using browser = await openBrowser();
  const { page } = await openStudio(browser, `${site.url}#/runs`);
  await page.waitForSelector(".curve");
  const status = await page.$eval(".runs .lead", (e) => e.textContent!);
  assert(status.startsWith(`${runs[0].title} cannot be read`), status);
});
