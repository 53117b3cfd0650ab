/** The page as `deno task serve` serves it: drawing there and in the browser, to the same bits. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { browserTest, openBrowser, type Page } from "../../tests/browser.ts";
import { tempDir } from "../../tests/fixtures.ts";
import { DeviceThread } from "../../cli/commands/serve/device_thread.ts";
import { Jobs } from "../../cli/commands/serve/jobs.ts";
import { Models } from "../../cli/commands/serve/models.ts";
import { Page as PageOfFiles } from "../../cli/commands/serve/page.ts";
import { RunFolders } from "../../cli/commands/serve/runs.ts";
import { Studio } from "../../cli/commands/serve/studio.ts";
import { ADDRESSES } from "../addresses.ts";
import { HttpEngine } from "../http_engine.ts";
import { openStudio, says } from "./studio_test_util.ts";

/** The first picture of the stage, as text. */
function picture(page: Page): Promise<string> {
  return page.$eval(".contact canvas", (canvas) => (canvas as HTMLCanvasElement).toDataURL());
}

browserTest(
  "the served page draws on the server and in the browser alike, and ends both",
  async () => {
    await using folder = await tempDir();
    using thread = new DeviceThread({ device: "wasm", gpu: "deno", dtype: "f32" });
    const studio = new Studio({
      models: new Models({ results: `${folder.path}/results`, ckpt: undefined, flags: {} }),
      runs: new RunFolders(`${folder.path}/results`),
      thread,
      jobs: new Jobs(4),
      page: new PageOfFiles(),
      names: { names: [], host: "127.0.0.1" },
      onUnfit() {},
    });
    let heldModels: Promise<void> | null = null;
    const server = Deno.serve(
      { port: 0, hostname: "127.0.0.1", onListen() {} },
      async (request, info) => {
        if (request.url.endsWith(ADDRESSES.models)) await heldModels;
        return await studio.answer(request, info);
      },
    );
    const url = `http://127.0.0.1:${server.addr.port}/`;
    try {
      await using browser = await openBrowser();
      const address = `${url}?device=wasm#/draw?labels=3&seed=5&count=1&steps=4`;
      const opened = await openStudio(browser, address);
      const { page } = opened;
      const choose = (place: string) =>
        page.evaluate((place) => {
          const labels = [...document.querySelectorAll<HTMLElement>(".choice label")];
          labels.find(({ textContent }) => textContent === place)!.click();
        }, place);
      const draw = () => page.click(".panel .primary");

      await draw();
      assertMatch(await says(page, "stage", "Drawn in"), /on wasm \(WebAssembly, [^)]*\)$/);
      const onServer = await picture(page);
      await page.click("[aria-label='Keep this seed']");
      // drawn in the browser even before its models are known
      const { promise, resolve } = Promise.withResolvers<void>();
      heldModels = promise;
      await choose("This browser");
      await draw();
      resolve();
      await page.waitForFunction(() =>
        /^Drawn .*in this browser$/.test(document.querySelector(".stage .state")!.textContent!)
      );
      assertEquals(await picture(page), onServer);

      // on the server again, until it is cancelled
      await choose("Server");
      const long = "#/draw?labels=3&seed=5&count=1&sampler=ddpm&steps=1000";
      await page.evaluate((long) => location.hash = long, long);
      await page.waitForFunction(() =>
        [...document.querySelectorAll("input")].some(({ value }) => value === "1000")
      );
      const engine = new HttpEngine(url);
      const queued = async (count: number): Promise<void> => {
        for (let i = 0; i < 1200; i++) { // a minute
          if ((await engine.studio()).queued === count) return;
          await new Promise((resolve) => setTimeout(resolve, 50));
        }
        throw new Error(
          `expected ${count} requests but there are ${(await engine.studio()).queued}`,
        );
      };
      await draw();
      await says(page, "stage", "Step");
      await queued(1);
      await page.keyboard.press("Escape");
      await says(page, "stage", "Cancelled");
      await queued(0);

      // a page that is closed ends its work
      await draw();
      await queued(1);
      opened.check();
      await opened.close();
      await queued(0);
      assert((await engine.studio()).device!.startsWith("wasm"));
    } finally {
      studio.stop();
      await server.shutdown();
    }
  },
);
