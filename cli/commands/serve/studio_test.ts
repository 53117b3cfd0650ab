/** The studio from end to end, on a server of its own: what it answers, and what it does not. */
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { ImageSampler } from "@dit/core/pipeline";
import { SafetensorsFile, saveSafetensors } from "@dit/core/io";
import { init } from "@dit/core/tensor";
import { vaeConfigOf } from "@dit/core/vae";
import {
  decodeFrames,
  HttpEngine,
  type SampleEvent,
  samplePictures,
  type SampleRequest,
} from "@dit/web";
import {
  SMALL,
  SMALL_VAE,
  smallLatents,
  smallVaeWeights,
  smallWeights,
  writeRun,
} from "../../../tests/commands.ts";
import { noWebGpu } from "../../../tests/devices.ts";
import { diskTest } from "../../../tests/fixtures.ts";
import { writeCheckpoint } from "../../run/checkpoint.ts";
import { FastTierError } from "../../shared/device.ts";
import { DeviceThread, type Sampling, withoutPaths } from "./device_thread.ts";
import { Jobs } from "./jobs.ts";
import { Models } from "./models.ts";
import { Page } from "./page.ts";
import { RunFolders } from "./runs.ts";
import { Studio, type StudioParts } from "./studio.ts";

const REQUEST: SampleRequest = {
  model: "000-small.1",
  pictures: [{ label: 1, seed: 5 }, { label: 2, seed: 6, towardsSeed: { seed: 7, amount: 0.5 } }],
  sampler: "dpm++",
  steps: 5,
  eta: 0,
  guidance: 2,
  interval: null,
};

/** A request that goes on until it is cancelled, as far as a test is concerned. */
const LONG: SampleRequest = { ...REQUEST, sampler: "ddpm", steps: 1000 };

interface Served {
  readonly port: number;
  readonly url: string;
  readonly engine: HttpEngine;
  readonly studio: Studio;
  readonly parts: StudioParts;
  readonly results: string;
  readonly checkpoint: string;
}

/** A test with a server whose folder of runs has one, with a checkpoint. */
function studioTest(name: string, run: (served: Served) => Promise<void>, queue = 8): void {
  diskTest(name, async (folder) => {
    const results = `${folder}/results`;
    const checkpoint = await writeRun(results, "000-small", 1);
    using thread = new DeviceThread({ device: "wasm", gpu: "deno", dtype: "f32" });
    const source = new URL("../../../README.md", import.meta.url);
    const parts: StudioParts = {
      models: new Models({ results, ckpt: undefined, flags: {} }),
      runs: new RunFolders(results),
      thread,
      jobs: new Jobs(queue),
      page: new Page([{ name: "index.html", source, isBundled: false }]),
      names: { names: [], host: "127.0.0.1" },
      onUnfit() {},
    };
    const studio = new Studio(parts);
    const server = Deno.serve(
      { port: 0, hostname: "127.0.0.1", onListen() {} },
      (request, info) => studio.answer(request, info),
    );
    try {
      const { port } = server.addr;
      const url = `http://127.0.0.1:${port}/`;
      await run({ port, url, engine: new HttpEngine(url), studio, parts, results, checkpoint });
    } finally {
      studio.stop();
      await server.shutdown();
    }
  });
}

/** Samples to the end; returns what was told. */
async function sampled(engine: HttpEngine, request = REQUEST): Promise<SampleEvent[]> {
  const events: SampleEvent[] = [];
  await engine.sample(request, (event) => events.push(event), new AbortController().signal);
  return events;
}

/** Begins to sample; resolves once there is an event of that kind. */
async function begun(engine: HttpEngine, request: SampleRequest, kind: SampleEvent["kind"]) {
  const cancel = new AbortController();
  const seen = Promise.withResolvers<void>();
  const finished = engine.sample(request, (event) => {
    if (event.kind === kind) seen.resolve();
  }, cancel.signal);
  finished.catch(seen.reject);
  await seen.promise;
  return { cancel, finished };
}

studioTest(
  "the server samples what the same model draws here, and tells how it goes",
  async (served) => {
    const { engine, checkpoint, url } = served;
    const models = await engine.models();
    assertEquals(models[0]!.id, REQUEST.model);
    const events = await sampled(engine);
    const done = events.at(-1)!;
    assert(done.kind === "done" && done.seconds > 0);
    assertMatch(done.device, /^wasm/);
    assertEquals((await engine.studio()).device, done.device);
    const steps = events.flatMap((event) => event.kind === "step" ? [event] : []);
    assert(steps.length > 0 && steps.every(({ step, steps }) => step <= 5 && steps === 5));
    await init({ device: "wasm" });
    using sampler = await ImageSampler.fromCheckpoint(await SafetensorsFile.open(checkpoint));
    const options = { signal: { aborted: false }, onStep() {} };
    assertEquals(done.pictures, await samplePictures(sampler, REQUEST, options));
    const again = (await sampled(engine)).at(-1) as typeof done;
    assertEquals(again.pictures, done.pictures);
    const weights = await fetch(`${url}models/${REQUEST.model}/weights.safetensors`);
    assertEquals(Number(weights.headers.get("content-length")), (await weights.bytes()).length);
  },
);

studioTest("weights that are written over are sampled from, not those before", async (served) => {
  const { parts: { thread }, results, checkpoint } = served;
  const drawn = async () => {
    const models = new Models({ results, ckpt: undefined, flags: {} }); // as if a second had passed
    const events: SampleEvent[] = [];
    await thread.sample((await models.find(REQUEST.model))!, REQUEST, {
      signal: new AbortController().signal,
      onEvent: (event) => events.push(event),
      wantsPreview: () => false,
    });
    return events.at(-1) as SampleEvent & { kind: "done" };
  };
  await drawn();
  const ema = await smallWeights(SMALL);
  for (const { data } of ema.values()) data.fill(0);
  const header = { trainee: "dit", step: 1, config: SMALL, training: null };
  await writeCheckpoint(`${checkpoint}.new`, header, { ema });
  await Deno.rename(`${checkpoint}.new`, checkpoint);
  await init({ device: "wasm" });
  using sampler = await ImageSampler.fromCheckpoint(await SafetensorsFile.open(checkpoint));
  const options = { signal: { aborted: false }, onStep() {} };
  assertEquals((await drawn()).pictures, await samplePictures(sampler, REQUEST, options));
});

diskTest("the server draws on after its GPU was lost", async (folder) => {
  await writeRun(folder, "000-small", 1);
  using thread = new DeviceThread(
    { device: "webgpu", gpu: "deno", dtype: "f32" },
    new URL("./lost_gpu_test_util.ts", import.meta.url),
  );
  const models = new Models({ results: folder, ckpt: undefined, flags: {} });
  const drawn: string[] = [];
  for (let i = 0; i < 2; i++) {
    await thread.sample((await models.find(REQUEST.model))!, REQUEST, {
      signal: new AbortController().signal,
      onEvent: (event) => {
        if (event.kind === "done") drawn.push(event.pictures.map(({ rgba }) => rgba).join());
      },
      wantsPreview: () => false,
    });
  }
  assert(drawn.length === 2 && drawn[0] !== "");
  assertEquals(drawn[1], drawn[0]);
}, noWebGpu);

studioTest("requests wait for their turn, and one that is left gives it up", async ({ engine }) => {
  const first = await begun(engine, LONG, "step");
  const second = await begun(engine, LONG, "queued");
  const third = begun(engine, REQUEST, "step");
  while ((await engine.studio()).queued < 3) await new Promise((resolve) => setTimeout(resolve, 5));
  second.cancel.abort();
  await assertRejects(() => second.finished, DOMException);
  first.cancel.abort();
  await assertRejects(() => first.finished, DOMException);
  await (await third).finished;
  while ((await engine.studio()).queued > 0) await new Promise((resolve) => setTimeout(resolve, 5));
});

studioTest(
  "a queue that is full refuses, and a server that stops says so",
  async ({ engine, studio }) => {
    const first = await begun(engine, LONG, "step");
    const error = await assertRejects(() => sampled(engine), Error);
    assertMatch(error.message, /as many requests as may wait/);
    studio.stop();
    await assertRejects(() => first.finished, Error, "the server was stopped");
  },
  0,
);

studioTest(
  "what cannot be sampled is refused with a reason, and without paths",
  async ({ engine, checkpoint }) => {
    const refused = async (request: SampleRequest, message: string) => {
      const error = await assertRejects(() => sampled(engine, request), Error);
      assert(error.message.includes(message), error.message);
      assert(!error.message.includes(checkpoint), error.message);
    };
    await refused({ ...REQUEST, model: "../000-small.1" }, "model: expected one that there is");
    await refused({ ...REQUEST, steps: 0 }, "steps: expected a whole number");
    await engine.models();
    await Deno.writeTextFile(checkpoint, "overwritten with something that is no checkpoint at all");
    const { error } = console;
    console.error = () => {};
    try {
      await refused(REQUEST, "");
    } finally {
      console.error = error;
    }
  },
);

studioTest(
  "latents are decoded by their autoencoder, and refused where it is lost",
  async (served) => {
    const { engine, results } = served;
    const vae = `${results}/vae.safetensors`;
    const config = JSON.stringify(vaeConfigOf(SMALL_VAE));
    await saveSafetensors(vae, await smallVaeWeights(), [["config", config]]);
    await writeRun(results, "001-latents", 1, smallLatents({ inputSize: 4 }, vae));
    await writeRun(
      results,
      "002-lost",
      1,
      smallLatents({ inputSize: 4 }, `${results}/lost/vae.pt`),
    );
    const request = {
      ...REQUEST,
      model: "001-latents.1",
      pictures: [{ label: 1, seed: 5 }],
      steps: 2,
    };
    const { error } = console;
    console.error = () => {};
    try {
      const done = (await sampled(engine, request)).at(-1)!;
      assert(done.kind === "done");
      assertEquals(done.pictures.map(({ width, height }) => [width, height]), [[32, 32]]);
      const lost = { ...request, model: "002-lost.1" };
      const { message } = await assertRejects(() => sampled(engine, lost), Error);
      assertEquals(message, "--vae: expected ema, mse or a file but found no vae.pt");
    } finally {
      console.error = error;
    }
  },
);

studioTest(
  "a visitor is told where kernels are unfit or the program fails, and others go on",
  async (served) => {
    const { parts: own, engine } = served;
    const failures = [new FastTierError("wrong numbers in /home/somebody"), new TypeError("a bug")];
    const unfit: Error[] = [];
    const broken: Sampling = {
      device: null,
      open() {},
      sample: () => Promise.reject(failures.shift()),
    };
    const parts = { ...own, thread: broken, onUnfit: (error: Error) => unfit.push(error) };
    const other = new Studio(parts);
    const said: unknown[] = [];
    const { error } = console;
    console.error = (thing) => said.push(thing);
    const told: string[] = [];
    try {
      for (let i = 0; i < 2; i++) {
        const request = new Request("http://localhost/sample", {
          method: "POST",
          headers: { host: "localhost", "content-type": "application/json" },
          body: JSON.stringify(REQUEST),
        });
        const response = await other.answer(request, { completed: new Promise(() => {}) });
        for await (const event of decodeFrames(response.body!)) {
          if (event.kind === "failed") told.push(event.message);
        }
      }
    } finally {
      console.error = error;
    }
    assertMatch(told[0]!, /starts again without its fast kernels/);
    assertMatch(told[1]!, /an error of the program/);
    assertEquals([unfit.length, said.length], [1, 1]);
    assertEquals((await engine.studio()).queued, 0);
  },
);

Deno.test("messages for visitors have no paths in them", () => {
  const message = "/my runs/a.pt: not C:\\me\\b.pt or /home/me/c.pt; see results/d and e/f (/g/h)";
  assertEquals(
    withoutPaths(message, { "/my runs/a.pt": "a" }),
    "a: not b.pt or c.pt; see results/d and e/f (h)",
  );
});

/** Sends bytes as they are; returns the answer as far as it comes. */
async function send(port: number, text: string): Promise<string> {
  using connection = await Deno.connect({ hostname: "127.0.0.1", port });
  const bytes = new TextEncoder().encode(text);
  try {
    for (let at = 0; at < bytes.length;) at += await connection.write(bytes.subarray(at));
    return await new Response(connection.readable).text();
  } catch { // closed in the middle
    return "";
  }
}

studioTest("hostile requests get nothing, and the server stays", async ({ port, engine }) => {
  const head = (line: string, ...headers: string[]) =>
    [`${line} HTTP/1.1`, `Host: localhost:${port}`, "Connection: close", ...headers, "", ""].join(
      "\r\n",
    );
  const get = (path: string, ...headers: string[]) => head(`GET ${path}`, ...headers);
  const post = (body: string, ...headers: string[]) =>
    head(
      "POST /sample",
      "Content-Type: application/json",
      `Content-Length: ${body.length}`,
      ...headers,
    ) + body;
  const paths = [
    "/../../etc/passwd",
    "/..%2f..%2fetc/passwd",
    "/%2e%2e/%2e%2e/etc/passwd",
    "//etc/passwd",
    "/..\\..\\windows\\win.ini",
    "/C:/windows/win.ini",
    "/file:///etc/passwd",
    "/main.ts",
    "/.git/config",
    "/__proto__",
    "/constructor",
    "/models",
    "/models/",
    "/models/000-small.1",
    "/models/000-small.1/",
    "/models/000-small.1/weights.safetensors/",
    "/models/000-small.1/weights.safetensors%00",
    "/models/..%5c000-small.1/weights.safetensors",
    "/models/000-small.1/autoencoder.safetensors",
    "/models/__proto__/weights.safetensors",
    "/runs",
    "/runs/",
    "/runs/000-small/",
    "/runs/000-small/checkpoints/0000001.safetensors",
    "/runs/000-small/pictures/../config.json",
    "/runs/000-small/pictures/1.png",
    "/runs/000-small/pictures/1e3.png",
    "/runs/000-small/pictures/-1.png",
    "/runs/%2e%2e/metrics.json",
    "/%",
    "/\xff",
  ];
  for (const path of paths) assertMatch(await send(port, get(path)), /^HTTP\/1.1 404 /, path);
  const cases: [string, RegExp][] = [
    [get("/studio.json"), /^HTTP\/1.1 200 /],
    [head("FOO /"), /^HTTP\/1.1 405 [\s\S]*\r\nallow: GET, HEAD\r\n/i],
    [head("OPTIONS /sample", "Origin: http://evil.com"), /^HTTP\/1.1 403 /],
    [head("OPTIONS /sample"), /^HTTP\/1.1 405 [\s\S]*\r\nallow: POST\r\n/i],
    [head("TRACE /"), /^HTTP\/1.1 405 /],
    [head("CONNECT evil.com:443"), /^HTTP\/1.1 4/],
    [head("DELETE /runs.json"), /^HTTP\/1.1 405 /],
    [get("/models.json", "Origin: http://evil.com"), /^HTTP\/1.1 403 /],
    [get("/models.json", "Sec-Fetch-Site: cross-site"), /^HTTP\/1.1 403 /],
    [get("http://evil.com/models.json"), /^HTTP\/1.1 421 /],
    ["GET /models.json HTTP/1.1\r\nHost: evil.com\r\nConnection: close\r\n\r\n", /^HTTP\/1.1 421 /],
    ["GET /models.json HTTP/1.0\r\n\r\n", /^HTTP\/1.0 421 /],
    ["GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.com\r\n\r\n", /^HTTP\/1.1 400 /],
    [get("/runs/000-small/metrics.json?after=../x"), /^HTTP\/1.1 400 /],
    [get("/models/000-small.1/weights.safetensors", "Range: bytes=999999999-"), /^HTTP\/1.1 416 /],
    [post("{"), /^HTTP\/1.1 400 /],
    [post("[".repeat(60000)), /^HTTP\/1.1 400 /],
    [post('{"__proto__":{"model":"demo"}}'), /^HTTP\/1.1 400 /],
    [post("{}", "Origin: http://evil.com"), /^HTTP\/1.1 403 /],
    [post("{}", "Sec-Fetch-Site: same-site"), /^HTTP\/1.1 403 /],
    [
      head("POST /sample", "Content-Type: text/plain", "Content-Length: 2") + "{}",
      /^HTTP\/1.1 415 /,
    ],
    [
      head("POST /sample", "Content-Type: application/json", "Content-Length: -5"),
      /^HTTP\/1.1 400 /,
    ],
    [post("{}", "Transfer-Encoding: chunked"), /^HTTP\/1.1 400 /],
    ["\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", /^HTTP\/1.1 400 |^$/],
  ];
  for (const [text, answer] of cases) {
    assertMatch(await send(port, text), answer, text.slice(0, 80));
  }
  await send(port, get(`/${"a".repeat(2 ** 20)}`));
  await send(port, get("/", `X: ${"a".repeat(2 ** 20)}`));
  assertEquals((await engine.studio()).queued, 0);
});

studioTest("every answer tells a browser what it may do with it", async ({ url }) => {
  for (const path of ["", "models.json", "nothing", "models/demo/weights.safetensors"]) {
    const { headers, body, status } = await fetch(url + path);
    await body?.cancel();
    const of = (name: string) => headers.get(name);
    assertEquals(status, path === "nothing" ? 404 : 200);
    assertMatch(of("content-security-policy")!, /^default-src 'none'; script-src 'self'/);
    assertEquals(
      [of("cross-origin-opener-policy"), of("cross-origin-embedder-policy")],
      ["same-origin", "require-corp"],
    );
    assertEquals([of("cross-origin-resource-policy"), of("x-content-type-options")], [
      "same-origin",
      "nosniff",
    ]);
    assertEquals(of("access-control-allow-origin"), null);
  }
});

studioTest(
  "hundreds at once are answered or refused, and the server stays",
  async ({ url, engine }) => {
    const body = JSON.stringify(REQUEST);
    const headers = { "content-type": "application/json" };
    const addresses = [
      "",
      "models.json",
      "runs.json",
      "../../x",
      `models/${REQUEST.model}/weights.safetensors`,
    ];
    const statuses = await Promise.all(Array.from({ length: 300 }, async (_, i) => {
      const address = addresses[i % 6];
      const asked = address === undefined
        ? fetch(`${url}sample`, { method: "POST", headers, body })
        : fetch(url + address);
      const response = await asked;
      await response.arrayBuffer();
      return response.status;
    }));
    const count = (status: number) => statuses.filter((one) => one === status).length;
    assertEquals(count(404), 50);
    assertEquals(count(200) + count(503), 250);
    assert(count(200) > 200 && count(503) > 0);
    assertEquals((await sampled(engine)).at(-1)!.kind, "done");
  },
);
