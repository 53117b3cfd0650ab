import { assertEquals, assertRejects } from "@std/assert";
import { readJsonBody } from "./body.ts";
import { HttpError } from "./http_error.ts";

function post(body: BodyInit, type = "application/json"): Request {
  return new Request("http://h/", { method: "POST", body, headers: { "content-type": type } });
}

async function refusal(request: Request, patience?: number): Promise<number> {
  return (await assertRejects(() => readJsonBody(request, patience), HttpError)).status;
}

/** Parts, and then silence for ever. */
function endless(...parts: string[]): ReadableStream<Uint8Array<ArrayBuffer>> {
  return new ReadableStream({
    start(controller) {
      for (const part of parts) controller.enqueue(new TextEncoder().encode(part));
    },
  });
}

Deno.test("a body of JSON is read", async () => {
  assertEquals(await readJsonBody(post('{"a": 1}')), { a: 1 });
  assertEquals(await readJsonBody(post("[]", "application/json; charset=utf-8")), []);
});

Deno.test("other bodies are refused: of other types, too large, too slow, broken off", async () => {
  for (const type of ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonx"]) {
    assertEquals(await refusal(post("{}", type)), 415, type);
  }
  for (const text of ["", "{", "undefined", '{"a":'.repeat(10000), "[".repeat(60000)]) {
    assertEquals(await refusal(post(text)), 400);
  }
  assertEquals(await refusal(post(Uint8Array.of(0x22, 0xff, 0x22))), 400);
  assertEquals(await refusal(post(" ".repeat(65537))), 413);
  assertEquals(await refusal(post(endless(...new Array<string>(70).fill(" ".repeat(1000))))), 413);
  assertEquals(await refusal(post(endless("{")), 10), 408);
  const broken = new ReadableStream<Uint8Array<ArrayBuffer>>({
    pull(controller) {
      controller.error(new Error("connection lost"));
    },
  });
  assertEquals(await refusal(post(broken)), 400);
});
