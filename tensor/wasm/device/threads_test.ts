import { assert, assertEquals, assertRejects } from "@std/assert";
import { mayStartThreads } from "./threads.ts";

/** These tests start processes of their own, which plain `deno test` may not. */
const ignore = !mayStartThreads() ||
  Deno.permissions.querySync({ name: "run", command: "deno" }).state !== "granted";

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

const room = new URL("../../", import.meta.url);
const backendUrl = new URL("wasm/backend.ts", room).href;

Deno.test({
  name: "threads need no more than to read the package, and let the process end",
  ignore,
  fn: async () => {
    const read = `--allow-read=${decodeURIComponent(room.pathname)}`;
    assertEquals(await run(script(backendUrl), read), "2");
  },
});

Deno.test({
  name: "without read access there is one thread, and an error where more are asked for",
  ignore,
  fn: async () => {
    assertEquals(await run(script(backendUrl, "")), "1");
    const error = await assertRejects(() => run(script(backendUrl)));
    assert(String(error).includes("they need read access"), String(error));
  },
});

Deno.test({
  name: "threads start where the package comes over the network",
  ignore,
  fn: async () => {
    const serve = async (request: Request): Promise<Response> => {
      const source = await Deno.readTextFile(new URL(`.${new URL(request.url).pathname}`, room));
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
