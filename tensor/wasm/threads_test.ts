import { assert, assertEquals } from "@std/assert";

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

const script = (url: string) => `
  import { createWasmBackend } from "${url}";
  const backend = await createWasmBackend({ threads: 2 });
  console.log(backend.threads);
`;

Deno.test("threads need no more than to read the package, and let the process end", async () => {
  const room = new URL("../", import.meta.url);
  const url = new URL("wasm/backend.ts", room).href;
  assertEquals(await run(script(url), `--allow-read=${decodeURIComponent(room.pathname)}`), "2");
  await run(script(url)).then(
    () => assert(false, "threads started without read access"),
    (error) => assert(String(error).includes("they need read access"), String(error)),
  );
});

Deno.test("threads start where the package comes over the network", async () => {
  const room = new URL("../", import.meta.url);
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    async (request) => {
      const { pathname } = new URL(request.url);
      const source = await Deno.readTextFile(new URL(`.${pathname}`, room));
      return new Response(source, { headers: { "content-type": "application/typescript" } });
    },
  );
  const host = `127.0.0.1:${server.addr.port}`;
  try {
    const url = `http://${host}/wasm/backend.ts`;
    assertEquals(await run(script(url), `--allow-import=${host}`), "2");
  } finally {
    await server.shutdown();
  }
});
