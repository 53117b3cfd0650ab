import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { saveSafetensors } from "@dit/core/io";
import {
  currentDevice,
  DeviceLostError,
  memory,
  OutOfMemoryError,
  shutdown,
} from "@dit/core/tensor";
import { vaeConfigOf } from "@dit/core/vae";
import { SMALL_VAE, smallVaeWeights } from "../tests/commands.ts";
import { noWebGpu } from "../tests/devices.ts";
import { diskTest } from "../tests/fixtures.ts";
import { adviceOn, BrowserSampler } from "./browser_sampler.ts";
import type { ModelFiles } from "./worker_engine.ts";

const WEIGHTS = await Deno.readFile(new URL("../cli/demo/mnist.safetensors", import.meta.url));

/** A server of the weights, by ranges where they are asked for; `asked` has the ranges. */
function serve(asked: (string | null)[]): Deno.HttpServer<Deno.NetAddr> {
  return Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, (request) => {
    const range = request.headers.get("range");
    asked.push(range);
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(range ?? "") ?? [];
    if (first === undefined) return new Response(WEIGHTS);
    const end = Math.min(WEIGHTS.length, Number(last) + 1);
    return new Response(WEIGHTS.slice(Number(first), end), {
      status: 206,
      headers: { "content-range": `bytes ${first}-${end - 1}/${WEIGHTS.length}`, etag: '"1"' },
    });
  });
}

Deno.test("small weights come in one piece, large ones by ranges, and stay until others are asked for", async () => {
  const asked: (string | null)[] = [];
  await using server = serve(asked);
  const sampler = new BrowserSampler();
  const { signal } = new AbortController();
  const progress: number[] = [];
  const load = (more: Partial<ModelFiles>) =>
    sampler.load(
      "wasm",
      {
        version: "demo",
        weights: `http://127.0.0.1:${server.addr.port}/weights.safetensors`,
        autoencoder: null,
        bytes: WEIGHTS.length,
        ...more,
      },
      signal,
      (done) => progress.push(done),
    );

  const first = await load({});
  assertEquals(asked, [null]);
  assertEquals(progress.at(-1), WEIGHTS.length);
  assert(await load({}) === first);
  assertEquals(asked.length, 1);
  const table = async ({ model }: typeof first) =>
    await model.yEmbedder.embeddingTable.weight.data();
  const expected = await table(first);

  const large = await load({ version: "large", bytes: 2 ** 30 });
  assert(asked.length > 3 && asked.slice(1).every((range) => range !== null), String(asked));
  assertEquals(await table(large), expected);

  const count = asked.length;
  const given = await load({ version: "given", weights: new Blob([WEIGHTS]) });
  assertEquals(await table(given), expected);
  assertEquals(asked.length, count);
  assertMatch(sampler.device, /^wasm \(WebAssembly, .*\), in this browser$/);
  given[Symbol.dispose]();
});

Deno.test("weights that are not there, and loading that is cancelled, end with an error", async () => {
  await using server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    () => new Response(null, { status: 404 }),
  );
  const sampler = new BrowserSampler();
  const weights = `http://127.0.0.1:${server.addr.port}/weights.safetensors`;
  const files = { version: "demo", weights, autoencoder: null, bytes: 1 };
  const { signal } = new AbortController();
  await assertRejects(() => sampler.load("wasm", files, signal, () => {}), Error, "404");
  await assertRejects(
    () => sampler.load("wasm", files, AbortSignal.abort(), () => {}),
    DOMException,
    "aborted",
  );
});

Deno.test({
  name: `a GPU that is lost is opened anew, with the model${noWebGpu ? ` (${noWebGpu})` : ""}`,
  ignore: noWebGpu !== undefined,
  async fn() {
    const sampler = new BrowserSampler();
    const files = {
      version: "demo",
      weights: new Blob([WEIGHTS]),
      autoencoder: null,
      bytes: WEIGHTS.length,
    };
    const { signal } = new AbortController();
    const load = () => sampler.load("webgpu", files, signal, () => {});
    const first = await load();
    assert(await load() === first);
    const { backend } = currentDevice();
    const gpu = (backend as unknown as { runtime: { device: GPUDevice } }).runtime.device;
    gpu.destroy();
    await gpu.lost;
    const weights = ({ model }: typeof first) => model.yEmbedder.embeddingTable.weight.data();
    const error = await assertRejects(() => weights(first), DeviceLostError);
    assertMatch(adviceOn(error), /destroyed.*Draw again/);

    const second = await load();
    assert((await weights(second)).every(Number.isFinite));
    second[Symbol.dispose]();
    await shutdown(currentDevice());
  },
});

diskTest("an autoencoder does not stay where its model cannot be loaded", async (folder) => {
  const path = `${folder}/vae.safetensors`;
  const config = JSON.stringify(vaeConfigOf(SMALL_VAE));
  await saveSafetensors(path, await smallVaeWeights(), [["config", config]]);
  const bytes = await Deno.readFile(path);
  await using server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    () => new Response(bytes),
  );
  const sampler = new BrowserSampler();
  const files = {
    version: "latents",
    weights: new Blob([bytes]), // which is no checkpoint
    autoencoder: `http://127.0.0.1:${server.addr.port}/autoencoder.safetensors`,
    bytes: bytes.length,
  };
  const { signal } = new AbortController();
  const tensors: number[] = [];
  for (let i = 0; i < 2; i++) {
    await assertRejects(() => sampler.load("wasm", files, signal, () => {}), Error, "checkpoint");
    tensors.push(memory().tensors);
  }
  assertEquals(tensors[1], tensors[0]);
});

Deno.test("what memory does not hold is said with what can be done, other errors as they are", () => {
  for (
    const error of [
      new OutOfMemoryError("matmul: no room for 4096 bytes"),
      new RangeError("Array buffer allocation failed"),
      new RangeError("WebAssembly.Memory(): could not allocate memory: out of memory"),
    ]
  ) assertMatch(adviceOn(error), /Ask for fewer pictures.*\(.*(room|allocation|memory).*\)$/);
  assertEquals(adviceOn(new Error("model.safetensors: not found")), "model.safetensors: not found");
  assertEquals(adviceOn("ended"), "ended");
});
