/**
 * Tests in a real browser: Chromium without a window, with WebGPU in software, and files that are
 * served from memory to it alone, cross-origin isolated or not.
 */
import type { Browser, Page } from "npm:puppeteer-core@25.16.0";
import { granted, tempDir } from "./fixtures.ts";
import { packagesMissing } from "./npm.ts";

export type { Page } from "npm:puppeteer-core@25.16.0";

const BROWSERS = ["chromium", "google-chrome"];

/** The command that starts a browser here: a program that is not there cannot be granted. */
const command = BROWSERS.find((name) => granted({ name: "run", command: name }));

/** Why there is no browser here, or undefined where there is one. */
export const browserMissing: string | undefined = command === undefined
  ? "needs chromium, and --allow-run=chromium"
  : await packagesMissing("npm:puppeteer-core@25.16.0", "npm:esbuild-wasm@0.28.2");

/** How long a page may take for what is waited for, in milliseconds: machines may be busy. */
const PATIENCE = 120_000;

const FLAGS = [
  "--headless=new",
  "--no-sandbox", // which a container's root has none of
  "--no-first-run",
  "--disable-extensions",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-dev-shm-usage",
  "--mute-audio",
  "--enable-unsafe-webgpu",
  "--use-webgpu-adapter=swiftshader",
  "--enable-unsafe-swiftshader",
  "--remote-debugging-port=0",
];

/** A browser of a test's own; it ends with the block: `await using browser = await openBrowser()`. */
export interface TestBrowser extends AsyncDisposable {
  /**
   * Opens a page. What goes wrong in it, errors that nothing catches and those on its console, makes
   * {@linkcode TestPage.check} throw.
   */
  open(url: string): Promise<TestPage>;
}

/** A page of a browser. */
export interface TestPage {
  readonly page: Page;
  /** Everything that it wrote on its console. */
  readonly console: readonly string[];
  /** Throws where something went wrong in the page. */
  check(): void;
  close(): Promise<void>;
}

/** Starts a browser. */
export async function openBrowser(): Promise<TestBrowser> {
  if (command === undefined) throw new Error(browserMissing);
  const profile = await tempDir();
  const child = new Deno.Command(command, {
    args: [...FLAGS, `--user-data-dir=${profile.path}`, "about:blank"],
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const { url, drained } = await endpointOf(child);
  const { default: puppeteer } = await import("npm:puppeteer-core@25.16.0");
  const browser = await puppeteer.connect({ browserWSEndpoint: url, defaultViewport: null });
  return {
    open: (address) => openPage(browser, address),
    async [Symbol.asyncDispose]() {
      await browser.close();
      await child.status;
      await drained;
      await profile[Symbol.asyncDispose]();
    },
  };
}

/** Where the browser listens, which it says on standard error; the rest of that is read on. */
async function endpointOf(
  child: Deno.ChildProcess,
): Promise<{ url: string; drained: Promise<void> }> {
  const reader = child.stderr.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) throw new Error(`the browser ended: ${text}`);
    text += value;
    const url = /DevTools listening on (ws:\S+)/.exec(text)?.[1];
    if (url === undefined) continue;
    const drained = (async () => {
      while (!(await reader.read()).done);
    })();
    return { url, drained };
  }
}

async function openPage(browser: Browser, address: string): Promise<TestPage> {
  const page = await browser.newPage();
  page.setDefaultTimeout(PATIENCE);
  const [lines, problems]: [string[], string[]] = [[], []];
  page.on("console", (message) => {
    lines.push(message.text());
    if (message.type() === "error") problems.push(message.text());
  });
  page.on("pageerror", (error) => problems.push(String(error)));
  await page.goto(address);
  return {
    page,
    console: lines,
    check() {
      if (problems.length > 0) throw new Error(`the page failed: ${problems.join("; ")}`);
    },
    close: () => page.close(),
  };
}

/** What a served file holds: its bytes or text; its type follows from its name. */
export type Served = Uint8Array<ArrayBuffer> | string;

/** How files are served. */
export interface SiteOptions {
  /** Whether pages are cross-origin isolated, so that their threads may share memory. */
  readonly isolated?: boolean;
  /** Answers requests before files are looked for; null where it does not. */
  readonly handle?: (request: Request) => Response | null | Promise<Response | null>;
}

/** A server on this machine: `await using site = serveFiles(...)`. */
export interface Site extends AsyncDisposable {
  /** With a slash at its end. */
  readonly url: string;
  /** Paths that were asked for, in order. */
  readonly requests: readonly string[];
}

const TYPES: Readonly<Record<string, string>> = {
  html: "text/html; charset=utf-8",
  js: "text/javascript",
  json: "application/json",
  css: "text/css",
  png: "image/png",
  svg: "image/svg+xml",
};

const ISOLATION = {
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
};

/** Serves files from memory, under their paths such as `index.html` or `page/main.js`. */
export function serveFiles(
  files: Readonly<Record<string, Served>> | ReadonlyMap<string, Served>,
  options: SiteOptions = {},
): Site {
  const all = files instanceof Map ? files : new Map(Object.entries(files));
  const requests: string[] = [];
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    async (request) => {
      const path = decodeURIComponent(new URL(request.url).pathname).slice(1);
      requests.push(path);
      const answer = await options.handle?.(request);
      if (answer) return answer;
      const name = path === "" || path.endsWith("/") ? `${path}index.html` : path;
      const body = all.get(name);
      if (body === undefined) {
        return new Response(null, { status: name === "favicon.ico" ? 204 : 404 });
      }
      const type = TYPES[name.slice(name.lastIndexOf(".") + 1)] ?? "application/octet-stream";
      const headers = { "content-type": type, ...(options.isolated ? ISOLATION : {}) };
      return new Response(body, { headers });
    },
  );
  return {
    url: `http://127.0.0.1:${server.addr.port}/`,
    requests,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

/** Registers a test in a browser; ignored, with the reason in its name, where there is none. */
export function browserTest(name: string, run: () => Promise<void>): void {
  Deno.test({
    name: browserMissing ? `${name} (${browserMissing})` : name,
    ignore: browserMissing !== undefined,
    // the driver's timers and its socket outlive what they were for
    sanitizeOps: false,
    sanitizeResources: false,
    fn: run,
  });
}
