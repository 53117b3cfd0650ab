/** The engine in a browser: on WebGPU, and on WebAssembly with the bits that it has in Deno. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import type { InitOptions } from "@dit/core";
import { BytesSink, hostTensor, writeSafetensors } from "@dit/core/io";
import { bundleModule } from "../web/bundle.ts";
import { browserMissing, browserTest, openBrowser, serveFiles, type TestPage } from "./browser.ts";
import type { Conformance } from "./browser/conformance.ts";
import { type Outcome, workload } from "./browser/workload.ts";
import { everyWebGpu, scaledError } from "./devices.ts";

const DRAFT = { draft: true }; // which takes a third of the time

/** A page that can load the engine. */
const files = browserMissing ? {} : {
  "index.html": "<!doctype html><title>The engine</title>",
  "engine_page.js": await bundleModule(new URL("browser/engine_page.ts", import.meta.url), DRAFT),
  "engine_worker.js": await bundleModule(
    new URL("browser/engine_worker.ts", import.meta.url),
    DRAFT,
  ),
};

/** Calls an export of engine_page.ts in a page; the page's errors have their message only. */
async function call<T>({ page }: TestPage, name: string, ...args: unknown[]): Promise<T> {
  const given = args.map((arg) => JSON.stringify(arg)).join(", ");
  return await page.evaluate(`import('./engine_page.js').then((m) => m.${name}(${given}))`) as T;
}

const wasm = (threads?: number): InitOptions => ({
  device: "wasm",
  wasm: { tier: "safe", ...(threads && { threads }) },
});

/** What the workload gives in Deno. */
const expected = browserMissing ? undefined : await workload(wasm());

browserTest(
  "WebAssembly gives a page the bits of Deno, with any threads that it can have",
  async () => {
    await using browser = await openBrowser();
    await using isolated = serveFiles(files, { isolated: true });
    await using plain = serveFiles(files);
    const same = ({ description, numbers }: Outcome, threads: string) => {
      assertEquals(description, `WebAssembly, 128-bit SIMD, ${threads}`);
      assertEquals(numbers, expected!.numbers);
    };

    const page = await browser.open(isolated.url);
    same(await call(page, "workloadInWorker", wasm(3)), "3 threads");
    same(await call(page, "workload", wasm()), "1 thread");
    await assertRejects(() => call(page, "workload", wasm(2)), Error, "compute in a Worker");
    page.check();
    await page.close();

    const other = await browser.open(plain.url);
    same(await call(other, "workloadInWorker", wasm()), "1 thread");
    const options = { ...wasm(), wasm: { addressBits: 32 } } satisfies InitOptions;
    same(await call(other, "workloadInWorker", options), "1 thread");
    await assertRejects(
      () => call(other, "workloadInWorker", wasm(2)),
      Error,
      "Cross-Origin-Opener-Policy: same-origin",
    );
    other.check();
  },
);

browserTest(
  "WebGPU passes the self-test in a page, and trains and samples as WebAssembly",
  async () => {
    await using browser = await openBrowser();
    await using site = serveFiles(files);
    const page = await browser.open(site.url);
    // A case that Chromium's compiler and Deno's differ in; all, and minutes of compiling, on a GPU.
    const chosen = everyWebGpu
      ? "small"
      : ["softmax: infinities among logits, and rows of nothing else, logarithm"];
    const result = await call<Conformance>(page, "conformance", "webgpu", chosen);
    assert(result.description.startsWith("WebGPU on"), result.description);
    assert(result.cases >= (everyWebGpu ? 500 : 1), `${result.cases} cases`);
    assertEquals(result.failures, []);
    const { numbers } = await call<Outcome>(page, "workloadInWorker", { device: "webgpu" });
    assert(scaledError(numbers, expected!.numbers) < 1e-4);
    page.check();
  },
);

browserTest(
  "a page takes weights from a server by ranges, and a device that is none of software",
  async () => {
    const sink = new BytesSink();
    await writeSafetensors(
      sink,
      new Map([
        ["large", hostTensor(new Float32Array(200_000), [200_000])],
        ["small", hostTensor(Float32Array.of(1, 2), [2])],
      ]),
    );
    const weights = sink.bytes().slice();
    const asked: string[] = [];
    await using browser = await openBrowser();
    await using site = serveFiles({ ...files, "whole.safetensors": weights }, {
      handle(request) {
        if (!request.url.endsWith("/ranges.safetensors")) return null;
        const range = request.headers.get("range") ?? "";
        asked.push(range);
        const [start, end] = /(\d+)-(\d+)/.exec(range)!.slice(1).map(Number) as [number, number];
        const part = weights.slice(start, end + 1);
        const last = start + part.length - 1;
        const headers = {
          etag: '"1"',
          "content-range": `bytes ${start}-${last}/${weights.length}`,
        };
        return new Response(part, { status: 206, headers });
      },
    });
    const page = await browser.open(site.url);
    assertEquals(await call(page, "readTensor", `${site.url}ranges.safetensors`, "small"), [1, 2]);
    assertEquals(asked.length, 2);
    assertEquals(await call(page, "readTensor", `${site.url}whole.safetensors`, "small"), [1, 2]);
    await assertRejects(
      () => call(page, "readTensor", `${site.url}none.safetensors`, "small"),
      Error,
      "expected a file but found status 404",
    );
    await assertRejects(
      () => call(page, "readTensor", "a/path.safetensors", "small"),
      Error,
      "expected a runtime with files but this one has none",
    );
    const auto = await call<string>(page, "describeDevice", { device: "auto" });
    if (!everyWebGpu) assert(auto.startsWith("WebAssembly"), auto);
  },
);
