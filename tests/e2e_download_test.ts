/** `deno task download` from end to end, against a server on this machine. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { saveSafetensors, saveTorch } from "@dit/core/io";
import { vaeConfigOf } from "@dit/core/vae";
import {
  command,
  commandTest,
  pngSize,
  SMALL_VAE,
  smallLatents,
  smallVaeWeights,
  smallWeights,
} from "./commands.ts";

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
  "download says what it fetches, continues after a cut, and keeps what is there",
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
  assertStringIncludes(out, "DiT-XL-2-256x256: DiT-XL/2 for ImageNet at 256x256, 2.7 GB");
  assertStringIncludes(err, "expected 2700611775 bytes");
  assertEquals(from.asked, ["/weights/DiT-XL-2-256x256.pt"]);
});

commandTest(
  "sample --image-size fetches model and autoencoder, draws, and fetches nothing again",
  async (folder) => {
    const shape = { inputSize: 64, patchSize: 8, hiddenSize: 32, depth: 1, numClasses: 1000 };
    await saveTorch(`${folder}/dit`, await smallWeights(smallLatents(shape, "mse")));
    const config = JSON.stringify(vaeConfigOf(SMALL_VAE));
    await saveSafetensors(`${folder}/vae`, await smallVaeWeights(), [["config", config]]);
    const files = new Map([
      ["/weights/DiT-XL-2-512x512.pt", await Deno.readFile(`${folder}/dit`)],
      [`/weights/${VAE}`, await Deno.readFile(`${folder}/vae`)],
    ]);
    await using from = mirror((path) => new Response(files.get(path) ?? null));
    const drawn = async (...flags: string[]): Promise<[said: string, png: Uint8Array]> => {
      const usual = ["--device", "wasm", "--image-size", "512", "--vae", "ema"];
      const { code, out, err } = await command("sample", [...usual, ...flags], folder, from.env);
      assertEquals(code, 0, out + err);
      return [out, await Deno.readFile(`${folder}/samples/sample.png`)];
    };
    // the defaults of sample.py, and its grid: eight classes in rows of four, two pixels apart
    const few = ["--num-sampling-steps", "2"];
    const [said, png] = await drawn(...few);
    assertStringIncludes(said, "8, ddpm, 2 steps, guidance 4, seed 0");
    assertEquals(pngSize(png), [4 * 514 + 2, 2 * 514 + 2]);
    assertEquals(from.asked, [...files.keys()]);
    const flags = ["--num-classes", "1000", "--cfg-scale", "4.0", "--seed", "0"];
    const [, one] = await drawn("--n", "1", ...few);
    assertEquals((await drawn("--n", "1", ...few, ...flags))[1], one);
    assert(String((await drawn("--n", "1", ...few, "--seed", "1"))[1]) !== String(one));
    assertStringIncludes((await drawn("--n", "1"))[0], "1, ddpm, 250 steps");
    assertEquals(from.asked.length, 2);
  },
);

commandTest("downloads go through the proxy that the environment names", async (folder) => {
  const asked: string[] = [];
  const proxy = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, (request) => {
    asked.push(request.url);
    return new Response(FILE);
  });
  const env = {
    DIT_MIRROR: "http://weights.example/dit",
    HTTP_PROXY: `http://127.0.0.1:${proxy.addr.port}`,
  };
  const { code, err } = await command("download", ["sd-vae-ft-ema"], folder, env);
  await proxy.shutdown();
  assertEquals(code, 0, err);
  assertEquals(asked, [`http://weights.example/dit/${VAE}`]);
  assertEquals(await Deno.readFile(`${folder}/pretrained_models/${VAE}`), FILE);
});

commandTest(
  "without a network the file's place is said, and sample then takes it",
  async (folder) => {
    await using from = mirror((_, start) => send(start));
    await from[Symbol.asyncDispose](); // the server is gone
    const { code, err } = await command("sample", ["--image-size", "512"], folder, from.env);
    assertEquals(code, 1);
    assertStringIncludes(err, "trying again");
    assertStringIncludes(err, "By hand: download https://dl.fbaipublicfiles.com/DiT/models/");
    assertStringIncludes(err, "put it at pretrained_models/DiT-XL-2-512x512.pt, or set DIT_MIRROR");
    const shape = { inputSize: 64, patchSize: 8, hiddenSize: 32, depth: 1, numClasses: 1000 };
    const weights = await smallWeights(smallLatents(shape, "mse"));
    await saveTorch(`${folder}/pretrained_models/DiT-XL-2-512x512.pt`, weights);
    const how = ["--image-size", "512", "--vae", "none", "--num-sampling-steps", "2"];
    const ended = await command("sample", [...how, "--device", "wasm"], folder, from.env);
    assertEquals(ended.code, 0, ended.err);
  },
);

commandTest("a mirror that sends on to a host which was not named is refused", async (folder) => {
  await using from = mirror((path, start) => {
    if (path === "/elsewhere") return send(start);
    const other = from.env.DIT_MIRROR.replace("127.0.0.1", "localhost");
    return Response.redirect(new URL("/elsewhere", other), 302);
  });
  const { code, err } = await command("download", ["sd-vae-ft-ema"], folder, from.env);
  assertEquals(code, 1);
  assertStringIncludes(err, "this command may not reach that address");
  assertStringIncludes(err, "localhost");
  assertEquals(from.asked, [`/weights/${VAE}`]);
});

commandTest(
  "weights of which a release tells the first digits of a hash are held to them",
  async (folder) => {
    await using from = mirror((_, start) => send(start));
    const { code, err } = await command("download", ["inception"], folder, from.env);
    assertEquals(code, 1);
    assertStringIncludes(err, "expected a SHA-256 that begins with 6726825d but got");
    assertEquals(from.asked[0], "/weights/pt_inception-2015-12-05-6726825d.pth");
  },
);
