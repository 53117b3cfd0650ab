/** `deno task download` from end to end, against a server on this machine. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { command, commandTest } from "./commands.ts";

const FILE = Uint8Array.from({ length: 200_000 }, (_, i) => (i * i) >> 3);
const VAE = "sd-vae-ft-ema/diffusion_pytorch_model.safetensors";

interface Mirror extends AsyncDisposable {
  readonly env: { DIT_MIRROR: string };
  /** `/path` and `Range` of each request. */
  readonly asked: string[];
}

/** Starts a server; `answer` gets a request's path, where it is to begin, and its number. */
function mirror(answer: (path: string, start: number, index: number) => Response): Mirror {
  const asked: string[] = [];
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, (request) => {
    const range = request.headers.get("range");
    const path = new URL(request.url).pathname;
    asked.push(`${path} ${range ?? ""}`.trim());
    return answer(path, Number(/\d+/.exec(range ?? "")?.[0] ?? 0), asked.length - 1);
  });
  return {
    env: { DIT_MIRROR: `http://127.0.0.1:${server.addr.port}/weights/` },
    asked,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

/** The file from `start` on, cut after `stop` bytes of it. */
function send(start: number, stop = Infinity): Response {
  const length = FILE.length - start;
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      controller.enqueue(FILE.slice(start, Math.min(start + stop, FILE.length)));
      controller.close();
    },
  });
  const headers = { "content-length": String(length), etag: '"1"' };
  return start === 0 ? new Response(body, { headers }) : new Response(body, {
    status: 206,
    headers: { ...headers, "content-range": `bytes ${start}-${FILE.length - 1}/${FILE.length}` },
  });
}

commandTest(
  "download says what it fetches, goes on after a cut, and keeps what is there",
  async (folder) => {
    await using from = mirror((path, start, index) => {
      if (path === "/elsewhere") return send(start, index < 2 ? 70_000 : Infinity);
      return Response.redirect(new URL("/elsewhere", from.env.DIT_MIRROR), 302);
    });
    const { code, out, err } = await command("download", ["sd-vae-ft-ema"], folder, from.env);
    assertEquals(code, 0, err);
    assertStringIncludes(out, "about 335 MB, MIT");
    assertStringIncludes(out, `from ${from.env.DIT_MIRROR}${VAE}`);
    assertStringIncludes(err, "trying again");
    assertEquals(from.asked, [
      `/weights/${VAE}`,
      "/elsewhere",
      `/weights/${VAE} bytes=70000-`,
      "/elsewhere bytes=70000-",
    ]);
    assertEquals(await Deno.readFile(`${folder}/pretrained_models/${VAE}`), FILE);
    const again = await command("download", ["SD-VAE-ft-ema"], folder, from.env);
    assertStringIncludes(again.out, "is there already");
    assertEquals(from.asked.length, 4);
    const listed = await command("download", [], folder, from.env);
    assertStringIncludes(listed.out, "(there)");
    assertEquals(from.asked.length, 4);
  },
);

commandTest(
  "download refuses what is not the published file, and says how else",
  async (folder) => {
    await using from = mirror((path, start) =>
      path.includes("512") ? new Response(null, { status: 404 }) : send(start)
    );
    const cases = [
      ["sd-vae-ft-mse", "expected the SHA-256 a1d993488569"],
      ["DiT-XL-2-256x256.pt", "expected 2700611775 bytes but the server has a file of 200000"],
      ["DiT-XL-2-512x512", "answered 404"],
    ] as const;
    for (const [name, message] of cases) {
      const { code, err } = await command("download", [name, "--dir", "w"], folder, from.env);
      assertEquals(code, 1);
      assertStringIncludes(err, message);
      assertStringIncludes(err, "By hand: download https://");
    }
    const left = Array.from(Deno.readDirSync(`${folder}/w`), ({ name }) => name);
    assertEquals(left, ["sd-vae-ft-mse"]);
    assertEquals([...Deno.readDirSync(`${folder}/w/sd-vae-ft-mse`)], []);
  },
);

commandTest(
  "download refuses names it does not know, before it fetches anything",
  async (folder) => {
    await using from = mirror((_, start) => send(start));
    const names = ["imagenet-classes", "sd-vae-ft-msa"];
    const { code, err } = await command("download", names, folder, from.env);
    assertEquals(code, 2);
    assertStringIncludes(err, "did you mean sd-vae-ft-mse?");
    assertEquals(from.asked, []);
    const bad = await command("download", ["imagenet-classes"], folder, { DIT_MIRROR: "there" });
    assertStringIncludes(bad.err, 'DIT_MIRROR: expected http(s)://... but got "there"');
  },
);

commandTest("sample downloads what --image-size needs, and nothing without it", async (folder) => {
  await using from = mirror((_, start) => send(start));
  const plain = await command("sample", [], folder, from.env);
  assert(plain.code === 0 || plain.err.includes("deno task train"), plain.err);
  assertEquals(from.asked, []);
  const { code, out, err } = await command("sample", ["--image-size", "256"], folder, from.env);
  assertEquals(code, 1);
  assertStringIncludes(out, "DiT-XL-2-256x256: DiT-XL/2 for ImageNet at 256x256, 2.70 GB");
  assertStringIncludes(err, "expected 2700611775 bytes");
  assertEquals(from.asked, ["/weights/DiT-XL-2-256x256.pt"]);
});
