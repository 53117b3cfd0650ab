import { assertEquals } from "@std/assert";
import { guard } from "./guard.ts";
import { HttpError } from "./http_error.ts";

const NAMES = { host: "127.0.0.1", names: ["gpu.example.org"] };

/** The status of a refusal; 200 for none. */
function status(headers: Record<string, string>, path = "/models.json", method = "GET"): number {
  const all = new Headers({ host: "localhost:8000", ...headers });
  const request = { method, headers: all, url: `http://localhost:8000${path}` } as Request;
  try {
    guard(request, path, NAMES);
    return 200;
  } catch (error) {
    if (error instanceof HttpError) return error.status;
    throw error;
  }
}

Deno.test("the server answers to its own names, whatever the port, and to no other", () => {
  const own = ["localhost", "LOCALHOST:1", "127.0.0.1:8000", "192.168.0.7:80", "[::1]:8000"];
  for (const host of [...own, "gpu.example.org", "GPU.example.org:443"]) {
    assertEquals(status({ host }), 200, host);
  }
  const others = ["", "evil.com", "localhost.evil.com", "127.0.0.1.evil.com", "evil.com:8000"];
  const wrong = ["localhost@evil.com", "localhost:", "localhost:999999", "127.1", "[::1", "a b"];
  for (const host of [...others, ...wrong, "xgpu.example.org"]) {
    assertEquals(status({ host }), 421, host);
  }
});

Deno.test("requests of other origins are refused, but for links to the page", () => {
  const own = "http://localhost:8000";
  assertEquals(status({}), 200); // no browser, or one from before these headers
  assertEquals(status({ origin: own }), 200);
  assertEquals(status({ origin: own, "sec-fetch-site": "same-origin" }), 200);
  assertEquals(status({ "sec-fetch-site": "none" }), 200); // typed into the address bar
  for (
    const origin of ["http://evil.com", "null", "http://localhost", "http://localhost:8001", ""]
  ) {
    assertEquals(status({ origin }), 403, origin);
  }
  for (const site of ["cross-site", "same-site", "nonsense"]) {
    assertEquals(status({ "sec-fetch-site": site }), 403, site);
  }
  const link = { "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate" };
  const document = { ...link, "sec-fetch-dest": "document" };
  assertEquals(status(document, "/"), 200);
  assertEquals(status({ ...link, "sec-fetch-dest": "iframe" }, "/"), 403);
  assertEquals(status(document, "/models.json"), 403);
  assertEquals(status(document, "/", "POST"), 403);
  assertEquals(status({ ...document, origin: "http://evil.com" }, "/"), 403);
});
