import { assertEquals } from "@std/assert";
import { fileResponse, readRange, type ServedFile } from "./ranges.ts";

Deno.test("ranges of bytes are read as RFC 9110 has them", () => {
  const cases: [string | null, ReturnType<typeof readRange>][] = [
    [null, null],
    ["bytes=0-0", { start: 0, end: 1 }],
    ["bytes=2-", { start: 2, end: 10 }],
    ["bytes=2-4", { start: 2, end: 5 }],
    ["bytes=2-999", { start: 2, end: 10 }],
    ["bytes=-3", { start: 7, end: 10 }],
    ["bytes=-999", { start: 0, end: 10 }],
    ["bytes=-0", "unsatisfiable"],
    ["bytes=10-", "unsatisfiable"],
    ["bytes=999999999999999-", "unsatisfiable"],
    ["bytes=4-2", null],
    ["bytes=-", null],
    ["bytes=0-1,4-5", null],
    ["items=0-1", null],
    ["bytes=a-b", null],
    ["bytes=1e3-", null],
    ["bytes=99999999999999999999-", null],
  ];
  for (const [header, range] of cases) assertEquals(readRange(header, 10), range, `${header}`);
});

Deno.test("a file is answered whole, in part, or not again", async () => {
  const bytes = Uint8Array.from({ length: 10 }, (_, i) => i);
  const file: ServedFile = {
    size: 10,
    etag: '"a"',
    async *read(start, end) {
      for (let i = start; i < end; i++) yield await Promise.resolve(bytes.slice(i, i + 1));
    },
  };
  const get = async (headers: Record<string, string>, method = "GET") => {
    const response = fileResponse(new Request("http://h/", { headers, method }), file, "x/y");
    const body = Array.from(await response.bytes());
    return [response.status, response.headers.get("content-range"), body];
  };
  const all = Array.from(bytes);
  assertEquals(await get({}), [200, null, all]);
  assertEquals(await get({ range: "bytes=2-4" }), [206, "bytes 2-4/10", [2, 3, 4]]);
  assertEquals(await get({ range: "bytes=10-" }), [416, "bytes */10", []]);
  assertEquals(await get({ "if-none-match": '"a"' }), [304, null, []]);
  assertEquals(await get({ range: "bytes=0-0", "if-range": '"a"' }), [206, "bytes 0-0/10", [0]]);
  assertEquals(await get({ range: "bytes=0-0", "if-range": '"b"' }), [200, null, all]);
  assertEquals(await get({ range: "bytes=2-4" }, "HEAD"), [206, "bytes 2-4/10", []]);
});
