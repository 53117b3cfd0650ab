import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { createHash } from "node:crypto";
import { diskTest, granted } from "../../tests/fixtures.ts";
import { CommandError } from "../shared/errors.ts";
import { download } from "./download.ts";

const FILE = Uint8Array.from({ length: 300_000 }, (_, i) => (i * i) >> 3);
const SHA = createHash("sha256").update(FILE).digest("hex");

/** What a server was asked, and how it answers request number `index`. */
type Answer = (request: Request, index: number) => Response | Promise<Response>;

interface Site extends AsyncDisposable {
  readonly url: string;
  /** The `Range` of each request. */
  readonly ranges: (string | null)[];
}

function site(answer: Answer): Site {
  const ranges: (string | null)[] = [];
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, (request) => {
    ranges.push(request.headers.get("range"));
    return answer(request, ranges.length - 1);
  });
  return {
    url: `http://127.0.0.1:${server.addr.port}/weights.bin`,
    ranges,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

const TAG = '"v1"';

/** The file as good servers send it; `stop` cuts the connection after that many bytes. */
function serve(request: Request, stop = Infinity, bytes: Uint8Array = FILE): Response {
  const start = Number(/^bytes=(\d+)-$/.exec(request.headers.get("range") ?? "")?.[1] ?? 0);
  const fresh = [null, TAG].includes(request.headers.get("if-range"));
  const from = fresh ? start : 0;
  const headers = new Headers({ etag: TAG });
  if (from >= bytes.length) {
    headers.set("content-range", `bytes */${bytes.length}`);
    return new Response(null, { status: 416, headers });
  }
  headers.set("content-length", String(bytes.length - from));
  if (from > 0) headers.set("content-range", `bytes ${from}-${bytes.length - 1}/${bytes.length}`);
  let at = from;
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      if (at >= bytes.length || at >= from + stop) return controller.close();
      controller.enqueue(bytes.slice(at, Math.min(at += 40_000, bytes.length)));
    },
  });
  return new Response(body, { status: from > 0 ? 206 : 200, headers });
}

/** Registers a test that may listen and write. */
function transferTest(name: string, run: (path: string) => Promise<void>): void {
  if (granted({ name: "net", host: "127.0.0.1" })) {
    diskTest(name, (folder) => run(`${folder}/below/weights.bin`));
  } else Deno.test({ name: `${name} (needs --allow-net=127.0.0.1)`, ignore: true, fn() {} });
}

async function filesBeside(path: string): Promise<string[]> {
  const names: string[] = [];
  for await (const { name } of Deno.readDir(path.slice(0, path.lastIndexOf("/")))) names.push(name);
  return names.sort();
}

const CHECKED = { bytes: FILE.length, sha256: SHA, pause: 1 };

transferTest("download() brings a file whole, and reports its progress", async (path) => {
  await using from = site((request) => serve(request));
  const seen: [number, number | null][] = [];
  await download(from.url, path, { ...CHECKED, onProgress: (...at) => seen.push(at) });
  assertEquals(await Deno.readFile(path), FILE);
  assertEquals(seen[0], [0, FILE.length]);
  assertEquals(seen.at(-1), [FILE.length, FILE.length]);
  assertEquals(await filesBeside(path), ["weights.bin"]);
});

transferTest("download() continues where a connection was cut", async (path) => {
  await using from = site((request, i) => serve(request, i < 2 ? 80_000 : Infinity));
  const reasons: string[] = [];
  await download(from.url, path, { ...CHECKED, onRetry: (reason) => reasons.push(reason) });
  assertEquals(await Deno.readFile(path), FILE);
  assertEquals(reasons.length, 2);
  assertEquals(from.ranges[0], null);
  const starts = from.ranges.slice(1).map((range) => Number(/\d+/.exec(range!)![0]));
  assert(starts[0]! > 0 && starts[1]! > starts[0]!, `asked for ${from.ranges}`);
});

transferTest("download() continues what an earlier process has left", async (path) => {
  let stop = 80_000;
  await using from = site((request) => serve(request, stop));
  await assertRejects(
    () => download(from.url, path, { ...CHECKED, attempts: 1 }),
    CommandError,
    "are kept, and continued next time",
  );
  assertEquals(await filesBeside(path), ["weights.bin.part", "weights.bin.part.json"]);
  const { size } = await Deno.stat(`${path}.part`);
  stop = Infinity;
  await download(from.url, path, CHECKED);
  assertEquals(from.ranges, [null, `bytes=${size}-`]);
  assertEquals(await Deno.readFile(path), FILE);
});

transferTest("download() leaves a part alone that another process is at", async (path) => {
  await using from = site((request) => serve(request));
  await Deno.mkdir(path.slice(0, path.lastIndexOf("/")));
  using other = await Deno.open(`${path}.part`, { create: true, write: true });
  await other.lock(true);
  await assertRejects(
    () => download(from.url, path, CHECKED),
    CommandError,
    "another process is downloading it",
  );
  assertEquals(from.ranges, []);
});

transferTest("download() begins anew where the file has changed meanwhile", async (path) => {
  const changed = FILE.map((x) => x ^ 1);
  await using from = site((request, i) => {
    if (i === 0) return serve(request, 80_000);
    const headers = new Headers(request.headers);
    headers.set("if-range", '"old"');
    return serve(new Request(request.url, { headers }), Infinity, changed);
  });
  await download(from.url, path, { pause: 1 });
  assertEquals(await Deno.readFile(path), changed);
});

transferTest("download() begins anew where a server knows no ranges", async (path) => {
  await using from = site((request, i) => {
    const whole = new Request(request.url);
    return serve(whole, i === 0 ? 80_000 : Infinity);
  });
  await download(from.url, path, CHECKED);
  assertEquals(await Deno.readFile(path), FILE);
});

transferTest("download() follows redirects", async (path) => {
  await using from = site((request) => {
    if (new URL(request.url).pathname !== "/elsewhere") {
      return Response.redirect(new URL("/elsewhere", request.url));
    }
    return serve(request);
  });
  await download(from.url, path, CHECKED);
  assertEquals(await Deno.readFile(path), FILE);
});

transferTest("download() refuses and removes a file with another hash", async (path) => {
  await using from = site((request) => serve(request));
  await assertRejects(
    () => download(from.url, path, { ...CHECKED, sha256: "0".repeat(64) }),
    CommandError,
    `expected the SHA-256 ${"0".repeat(64)} but got ${SHA}`,
  );
  assertEquals(await filesBeside(path), []);
});

transferTest("download() refuses a file of another size before it arrives", async (path) => {
  await using from = site((request) => serve(request));
  await assertRejects(
    () => download(from.url, path, { ...CHECKED, bytes: FILE.length + 1 }),
    CommandError,
    `expected ${FILE.length + 1} bytes but the server has a file of ${FILE.length}`,
  );
});

transferTest("download() refuses a file of another size that no header gives", async (path) => {
  await using from = site(() => new Response(new Blob([FILE]).stream()));
  await assertRejects(
    () => download(from.url, path, { ...CHECKED, bytes: FILE.length + 1 }),
    CommandError,
    `expected ${FILE.length + 1} bytes but got ${FILE.length}; what arrived was removed`,
  );
  assertEquals(await filesBeside(path), []);
});

transferTest("download() gives a file its name only once it is whole", async (path) => {
  await using from = site((request) => serve(request));
  const seen = new Set<string>();
  await Deno.mkdir(path.slice(0, path.lastIndexOf("/")));
  await Deno.writeTextFile(path, "an older file");
  const onProgress = () => seen.add(Deno.readTextFileSync(path));
  await download(from.url, path, { ...CHECKED, onProgress });
  assertEquals([...seen], ["an older file"]);
  assertEquals(await Deno.readFile(path), FILE);
});

transferTest("download() gives up at once where there is no such file", async (path) => {
  await using from = site(() => new Response("no", { status: 404 }));
  await assertRejects(() => download(from.url, path, CHECKED), CommandError, "answered 404");
  assertEquals(from.ranges.length, 1);
  assertEquals(await filesBeside(path), []);
});

transferTest("download() tries a busy server again, but not for ever", async (path) => {
  await using from = site((request, i) =>
    i < 2 ? new Response("", { status: 503 }) : serve(request)
  );
  await download(from.url, path, CHECKED);
  assertEquals(from.ranges.length, 3);
  await using busy = site(() => new Response("", { status: 503 }));
  await assertRejects(
    () => download(busy.url, `${path}2`, { ...CHECKED, attempts: 3 }),
    CommandError,
    "answered 503",
  );
  assertEquals(busy.ranges.length, 3);
});

transferTest("download() takes silence for a broken connection", async (path) => {
  await using from = site((request, i) => {
    if (i > 0) return serve(request);
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => controller.enqueue(FILE.slice(0, 1000)),
    });
    return new Response(body, { headers: { etag: TAG, "content-length": String(FILE.length) } });
  });
  const reasons: string[] = [];
  await download(from.url, path, {
    ...CHECKED,
    patience: 200,
    onRetry: (reason) => reasons.push(reason),
  });
  assertStringIncludes(reasons.join(), "nothing arrived for 0.2 seconds");
  assertEquals(await Deno.readFile(path), FILE);
});

transferTest("download() says so where no server listens", async (path) => {
  const from = site((request) => serve(request));
  await from[Symbol.asyncDispose]();
  await assertRejects(() => download(from.url, path, { ...CHECKED, attempts: 2 }), CommandError);
});
