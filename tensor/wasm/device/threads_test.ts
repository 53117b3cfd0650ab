import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { DeviceError, DeviceLostError } from "../../errors.ts";
import { DIED, HEAP_START } from "./layout.ts";
import { DeviceMemory } from "./memory.ts";
import { startThread } from "./host.ts";
import * as layout from "./layout.ts";
import { Threads, type ThreadsOptions } from "./threads.ts";
import { workerScript, type WorkerStart } from "./worker.ts";

/** These tests start processes of their own, which plain `deno test` may not. */
const ignore = Deno.permissions.querySync({ name: "run", command: "deno" }).state !== "granted";

/** Runs a script in a process of its own; what it printed, or an error with what it complained. */
async function run(script: string, ...flags: string[]): Promise<string> {
  const command = new Deno.Command("deno", {
    args: ["run", "--no-config", "--no-lock", "--quiet", "--no-check", ...flags, "-"],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
    env: { NO_COLOR: "1" },
  });
  const process = command.spawn();
  const input = process.stdin.getWriter();
  await input.write(new TextEncoder().encode(script));
  await input.close();
  const { stdout, stderr } = await process.output();
  const [out, complaint] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  if (complaint !== "") throw new Error(complaint);
  return out!.trim();
}

const script = (url: string, options = "{ threads: 2 }") => `
  import { createWasmBackend } from "${url}";
  const backend = await createWasmBackend(${options});
  console.log(backend.threads);
`;

const folder = new URL("../../", import.meta.url);
const backendUrl = new URL("wasm/backend.ts", folder).href;

Deno.test({
  name: "threads need no rights, and let the process end",
  ignore,
  fn: async () => assertEquals(await run(script(backendUrl)), "2"),
});

Deno.test({
  name: "threads start where the package comes over the network",
  ignore,
  fn: async () => {
    const serve = async (request: Request): Promise<Response> => {
      const source = await Deno.readTextFile(new URL(`.${new URL(request.url).pathname}`, folder));
      return new Response(source, { headers: { "content-type": "application/typescript" } });
    };
    const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, serve);
    const host = `127.0.0.1:${server.addr.port}`;
    try {
      const url = `http://${host}/wasm/backend.ts`;
      assertEquals(await run(script(url), `--allow-import=${host}`), "2");
    } finally {
      await server.shutdown();
    }
  },
});

/** Threads whose workers run `script`, and are waited for a few milliseconds. */
function threadsOf(script: string, options: ThreadsOptions = {}): Threads {
  const { memory } = new DeviceMemory(2 ** 23);
  return new Threads(memory, { script, waitMs: 1, waits: 5, ...options });
}

const READY = 'port.once("message", () => port.postMessage("ready"));';

Deno.test({
  name: "a worker that stops answering is noticed, and the device is lost",
  ignore,
  fn: async () => {
    const threads = threadsOf(READY);
    await threads.resize(3);
    threads.start(3);
    const gone = "2 of 3 threads have not answered for 0.005 s";
    assert(!threads.isLost);
    assertThrows(() => threads.join(3), DeviceLostError, gone);
    assert(threads.isLost);
    assertThrows(() => threads.start(3), DeviceLostError, gone);
    await assertRejects(() => threads.resize(2), DeviceLostError, gone);
    await threads.dispose();
    assertEquals(threads.count, 1);
  },
});

Deno.test({
  name: "a worker that ends between launches is noticed at the next",
  ignore,
  fn: async () => {
    const threads = threadsOf(
      READY.replace('postMessage("ready")', "postMessage(process.exit(7))"),
    );
    await assertRejects(() => threads.resize(2), DeviceError, "thread 1 ended with code 7");
    assertEquals(threads.count, 1);
    const later = threadsOf(`${READY} setTimeout(() => process.exit(7), 100);`);
    await later.resize(2);
    while (true) {
      try {
        later.start(1);
      } catch (error) {
        assert(error instanceof DeviceLostError && error.message.includes("ended with code 7"));
        break;
      }
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    await later.dispose();
  },
});

Deno.test({
  name: "a worker that never starts is an error that says so, and the others are ended",
  ignore,
  fn: async () => {
    const threads = threadsOf("setInterval(() => {}, 1000);", { startMs: 50 });
    await assertRejects(() => threads.resize(3), DeviceError, "has not started within 0.05 s");
    assertEquals(threads.count, 1);
    await threads.dispose();
  },
});

Deno.test({
  name: "a worker that dies leaves word in the memory, where a blocked host finds it",
  ignore,
  fn: async () => {
    const { memory } = new DeviceMemory(2 ** 23);
    const words = new Int32Array(memory.buffer, 0, HEAP_START / 4);
    const { promise, resolve } = Promise.withResolvers<string>();
    const worker = startThread(workerScript(layout), { message() {}, gone: resolve });
    const thread = 1e6; // its mailbox would lie far beyond the others
    worker.post({ memory, thread } satisfies WorkerStart);
    assert((await promise).includes("RangeError"));
    assertEquals(Atomics.load(words, DIED / 4), thread + 1);
    await worker.terminate();

    const threads = new Threads(memory, { script: READY, waits: Infinity });
    await threads.resize(2);
    threads.start(2);
    assertThrows(() => threads.join(2), DeviceLostError, `thread ${thread} has died`);
    await threads.dispose();
  },
});
