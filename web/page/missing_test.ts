import { assert, assertEquals } from "@std/assert";
import { whatSlows, whatStops } from "./missing.ts";

const ALL = { worker: true, webAssembly: true, webGpu: true, isRecent: true, isSecure: true };

Deno.test("a browser that lacks something is told what, and what to do", () => {
  assertEquals(whatStops(ALL), null);
  assertEquals(whatStops({ ...ALL, webGpu: false }), null);
  assertEquals(whatStops({ ...ALL, webAssembly: false }), null);
  for (
    const missing of [
      { ...ALL, worker: false },
      { ...ALL, isRecent: false },
      { ...ALL, webGpu: false, webAssembly: false },
    ]
  ) assert(/Firefox/.test(whatStops(missing) ?? ""));
  assertEquals(whatSlows(ALL), null);
  assert(whatSlows({ ...ALL, webGpu: false })!.includes("on the processor"));
  assert(whatSlows({ ...ALL, webGpu: false, isSecure: false })!.includes("https"));
});
