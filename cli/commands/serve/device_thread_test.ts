import { assert, assertEquals, assertRejects } from "@std/assert";
import type { SampleEvent, SampleRequest } from "@dit/web";
import { BUG, DeviceThread, SamplingError } from "./device_thread.ts";
import type { ServedModel } from "./models.ts";

/** A thread that does what each job's seed says. */
const SCRIPT = new URL(`data:text/javascript,${
  encodeURIComponent(`
    let count = 0;
    onmessage = ({ data }) => {
      postMessage({ kind: "device", device: "thread" });
      if (data.kind === "open") return;
      const { seed } = data.request.pictures[0];
      if (seed === 0) throw new Error("out of order");
      const event = { kind: "done", pictures: [], seconds: ++count, device: "thread" };
      postMessage({ kind: "done", event });
    };`)
}`);

const MODEL = { id: "m", path: "/m", flags: {}, info: { bytes: 5 } } as unknown as ServedModel;

Deno.test("a thread that ends by an error fails its job alone, and the next has a new one", async () => {
  using thread = new DeviceThread({ device: "wasm", gpu: "deno", dtype: "f32" }, SCRIPT);
  const events: SampleEvent[] = [];
  const watch = {
    signal: new AbortController().signal,
    onEvent: (event: SampleEvent) => events.push(event),
    wantsPreview: () => true,
  };
  const sample = (seed: number) => {
    const request = { pictures: [{ label: 0, seed }] } as unknown as SampleRequest;
    return thread.sample(MODEL, request, watch);
  };
  const counts = () => events.flatMap((event) => event.kind === "done" ? [event.seconds] : []);
  await sample(2);
  await sample(2);
  assertEquals([counts(), thread.device], [[1, 2], "thread"]);
  const said: unknown[] = [];
  const { error } = console;
  console.error = (text) => said.push(text);
  try {
    await assertRejects(() => sample(0), SamplingError, BUG);
  } finally {
    console.error = error;
  }
  assert(String(said[0]).includes("out of order"));
  assertEquals(thread.device, null);
  await sample(2);
  assertEquals(counts(), [1, 2, 1]);
  assertEquals(events.filter(({ kind }) => kind === "loading").length, 2);
});
