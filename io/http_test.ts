import { assert, assertEquals, assertRejects } from "@std/assert";
import { hostTensor } from "../tensor/mod.ts";
import { FormatError } from "./errors.ts";
import { openHttp } from "./http.ts";
import { loadSafetensors, SafetensorsFile } from "./safetensors/reader.ts";
import { writeSafetensors } from "./safetensors/writer.ts";
import { BytesSink, type RandomAccess, readRange } from "./source.ts";

const URL_OF_FILE = "http://weights.test/model.safetensors";

/** A server of one file: what it was asked for, and ways in which it is none of the usual. */
class Server {
  /** Ranges that were asked for, `all` for the whole. */
  readonly asked: string[] = [];
  etag = '"1"';
  hasRanges = true;
  /** Changes an answer before it is sent. */
  spoil = (response: Response): Response => response;

  constructor(public bytes: Uint8Array<ArrayBuffer>) {}

  readonly fetch = (_url: URL, { headers, signal }: RequestInit): Promise<Response> => {
    signal?.throwIfAborted();
    const range = /^bytes=(\d+)-(\d+)$/.exec(new Headers(headers).get("range") ?? "");
    this.asked.push(range ? `${range[1]}-${range[2]}` : "all");
    const { etag } = this;
    if (range === null || !this.hasRanges) {
      return Promise.resolve(this.spoil(new Response(this.bytes, { headers: { etag } })));
    }
    const [start, end] = [Number(range[1]), Math.min(this.bytes.length, Number(range[2]) + 1)];
    const total = this.bytes.length;
    const is = start < total;
    const response = new Response(is ? this.bytes.slice(start, end) : null, {
      status: is ? 206 : 416,
      headers: { etag, "content-range": `bytes ${is ? `${start}-${end - 1}` : "*"}/${total}` },
    });
    return Promise.resolve(this.spoil(response));
  };

  open(): Promise<RandomAccess> {
    return openHttp(URL_OF_FILE, { fetch: this.fetch });
  }
}

const numbers = (length: number) => Uint8Array.from({ length }, (_, i) => i * 7 + (i >> 8));

/** A file of three tensors, of which the middle one is large. */
async function weights(): Promise<Uint8Array<ArrayBuffer>> {
  const sink = new BytesSink();
  await writeSafetensors(
    sink,
    new Map([
      ["a", hostTensor(Float32Array.of(1, 2, 3), [3])],
      ["b", hostTensor(new Float32Array(500_000), [500_000])],
      ["c", hostTensor(Float32Array.of(4, 5), [2])],
    ]),
  );
  return sink.bytes().slice();
}

Deno.test("only the tensors that are read are fetched", async () => {
  const server = new Server(await weights());
  let received = 0;
  const onProgress = (bytes: number) => received = bytes;
  const source = await openHttp(URL_OF_FILE, { fetch: server.fetch, onProgress });
  using file = await SafetensorsFile.from(source);
  assertEquals(file.keys().sort(), ["a", "b", "c"]);
  assertEquals([...new Float32Array((await file.read("c")).data.slice().buffer)], [4, 5]);
  assertEquals([...new Float32Array((await file.read("a")).data.slice().buffer)], [1, 2, 3]);
  assert(server.asked.length <= 2 && server.asked[0] === "0-65535", server.asked.join());
  assert(received < 140_000, `${received} bytes of ${server.bytes.length}`);
});

Deno.test("a file that is read in order is fetched in few pieces, whole and once", async () => {
  const server = new Server(numbers(6_000_000));
  const source = await server.open();
  const read = new Uint8Array(source.size);
  for (let at = 0; at < source.size; at += 10_000) {
    await source.readInto(at, read.subarray(at, at + 10_000));
  }
  assert(read.every((byte, i) => byte === server.bytes[i]));
  assert(server.asked.length < 10, server.asked.join());
  assertEquals(await readRange(source, 4_999_999, 3), server.bytes.slice(4_999_999, 5_000_002));
  await assertRejects(() => source.readInto(5_999_999, new Uint8Array(2)), FormatError);
  source.close();
  await assertRejects(() => readRange(source, 0, 1), Error, "read after it was closed");
});

Deno.test("servers without ranges, and ones that do not tell the size, send the whole", async () => {
  const server = new Server(numbers(200_000));
  server.hasRanges = false;
  assertEquals(
    await readRange(await server.open(), 100_000, 50),
    server.bytes.slice(100_000, 100_050),
  );
  assertEquals(server.asked.splice(0), ["0-65535"]);

  server.hasRanges = true;
  server.spoil = (response) => {
    response.headers.delete("content-range"); // as a page of another origin sees it
    return response;
  };
  const source = await server.open();
  assertEquals(source.size, 200_000);
  assertEquals(server.asked, ["0-65535", "all"]);

  const empty = await new Server(new Uint8Array()).open();
  assertEquals(empty.size, 0);
});

Deno.test("a file that has changed since it was opened is refused", async () => {
  const changed = "expected the file as it was when it was opened";
  for (
    const change of [
      (server: Server) => server.etag = '"2"',
      (server: Server) => server.bytes = numbers(300_001),
      (server: Server) => server.hasRanges = false,
      (server: Server) => server.bytes = numbers(10),
    ]
  ) {
    const server = new Server(numbers(300_000));
    const source = await server.open();
    change(server);
    await assertRejects(() => readRange(source, 200_000, 5), FormatError, changed);
  }
});

Deno.test("answers that are not what was asked for are errors that say so", async () => {
  const with206 = (body: Uint8Array<ArrayBuffer>, range: string) => () =>
    new Response(body, { status: 206, headers: { etag: '"1"', "content-range": range } });
  const cases: [(response: Response) => Response, string][] = [
    [with206(new Uint8Array(10), "bytes 0-65535/300000"), "expected 65536 bytes but found 10"],
    [
      with206(new Uint8Array(70_000), "bytes 0-65535/300000"),
      "expected 65536 bytes but found more",
    ],
    [
      with206(new Uint8Array(5), "bytes 5-9/300000"),
      "expected bytes 0 to 65535 but found 5 to 9",
    ],
    [
      () => new Response("x", { status: 200, headers: { "content-length": "300000" } }),
      "expected 300000 bytes but found 1",
    ],
    [
      () => new Response("gone", { status: 404, statusText: "Not Found" }),
      "expected a file but found status 404 Not Found",
    ],
    [
      () => new Response(null, { status: 416 }),
      "expected a range that begins at byte 0 but found status 416",
    ],
  ];
  for (const [spoil, message] of cases) {
    const server = new Server(numbers(300_000));
    server.spoil = spoil;
    await assertRejects(() => server.open(), FormatError, `${URL_OF_FILE}: response: ${message}`);
  }
  const server = new Server(numbers(300_000));
  const source = await server.open();
  server.spoil = with206(new Uint8Array(65536), "bytes 100-65635/300000");
  await assertRejects(() => readRange(source, 200_000, 5), FormatError, "but found 100 to 65635");
  server.spoil = () => new Response(null, { status: 503 });
  await assertRejects(() => readRange(source, 200_000, 5), FormatError, "status 503");
});

Deno.test("a signal ends what is under way", async () => {
  const server = new Server(numbers(300_000));
  const stop = new AbortController();
  const source = await openHttp(URL_OF_FILE, { fetch: server.fetch, signal: stop.signal });
  stop.abort(new Error("the visitor left"));
  await assertRejects(() => readRange(source, 200_000, 5), Error, "the visitor left");
});

Deno.test("loadSafetensors() takes addresses that are no files with an error", async () => {
  await assertRejects(() => loadSafetensors(new URL("ftp://weights.test/x")), TypeError);
});
