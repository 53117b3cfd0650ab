/** `deno task serve` from end to end: its page, its pictures, and runs that another process trains. */
import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { decodePng } from "@dit/data";
import { HttpEngine, type SampleEvent } from "@dit/web";
import { command, commandTest, launchArguments, words, writeRun } from "./commands.ts";
import { writeTinyDigits } from "./tiny_digits.ts";

const ROOT = new URL("../", import.meta.url);

/** A command that runs until it is stopped. */
class Running implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  #out = "";
  readonly #reading: Promise<void>;
  #heard = Promise.withResolvers<void>();

  /** Starts it; the page is bundled where `deno.json` is. */
  constructor(name: string, args: readonly string[], cwd: URL | string = ROOT) {
    this.#child = new Deno.Command("deno", {
      args: launchArguments(name, args),
      cwd,
      env: { NO_COLOR: "1" },
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    this.#reading = this.#read();
  }

  async #read(): Promise<void> {
    for await (const text of this.#child.stdout.pipeThrough(new TextDecoderStream())) {
      this.#out += text;
      this.#heard.resolve();
      this.#heard = Promise.withResolvers();
    }
    this.#heard.resolve();
  }

  /** What it has written once that matches. */
  async says(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const match = pattern.exec(this.#out);
      if (match) return match;
      const ended = await Promise.race([this.#heard.promise, this.#reading.then(() => true)]);
      if (ended && !pattern.test(this.#out)) throw new Error(`${pattern} is not in ${this.#out}`);
    }
  }

  /** Ends it as Ctrl-C does; returns its exit code. */
  async stop(): Promise<number> {
    this.#child.kill("SIGINT");
    const { code } = await this.#child.status;
    await this.#reading;
    return code;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch { // it has ended
    }
    await this.#child.status;
  }
}

async function until<T>(read: () => Promise<T | undefined>): Promise<T> {
  for (;;) {
    const value = await read();
    if (value !== undefined) return value;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

commandTest("serve gives the page, draws what sample draws, and ends by Ctrl-C", async (folder) => {
  const ckpt = await writeRun(`${folder}/results`, "000-run", 3);
  const flags = ["--device", "wasm", "--results-dir", `${folder}/results`];
  await using server = new Running("serve", ["--port", "0", ...flags]);
  const [, port] = await server.says(/http:\/\/localhost:(\d+)\//);
  const url = `http://127.0.0.1:${port}/`;
  const page = await fetch(url);
  assertMatch(page.headers.get("content-type")!, /^text\/html/);
  const html = await page.text();
  for (const [, name] of html.matchAll(/(?:src|href)="\.?\/?([\w.-]+)"/g)) {
    const { status, body } = await fetch(url + name);
    await body?.cancel();
    assertEquals(status, 200, name);
  }
  const engine = new HttpEngine(url);
  const events: SampleEvent[] = [];
  const request = { model: "000-run.3", pictures: [{ label: 4, seed: 11 }], sampler: "dpm++" };
  await engine.sample(
    { ...request, steps: 3, eta: 0, guidance: 2, interval: null },
    (event) => events.push(event),
    new AbortController().signal,
  );
  const done = events.at(-1)!;
  assert(done.kind === "done");
  const line =
    "--num-sampling-steps 3 --cfg-scale 2 --classes 4 --seed 11 --n 1 --out a.png --device wasm";
  const drawn = await command("sample", ["--ckpt", ckpt, ...words(line)], folder);
  assertEquals(drawn.code, 0, drawn.err);
  const { pixels } = await decodePng(await Deno.readFile(`${folder}/a.png`));
  const [{ rgba }] = done.pictures as [typeof done.pictures[0]];
  assertEquals(rgba.filter((_, i) => i % 4 === 0), Uint8ClampedArray.from(pixels));
  const second = await command("serve", ["--port", port!, ...flags], folder);
  assertEquals(second.code, 1);
  assertStringIncludes(second.err, `--port: expected a port that is free but ${port} is taken`);
  for (const [flag, value] of [["--port", "70000"], ["--host", "http://localhost"]] as const) {
    const { code, err } = await command("serve", [flag, value], folder);
    assertEquals(code, 2, err);
    assertStringIncludes(err, `serve: ${flag}: expected `);
  }
  const going = engine.sample( // which is ended with the server
    { ...request, sampler: "ddpm", steps: 1000, eta: 0, guidance: 2, interval: null },
    () => {},
    new AbortController().signal,
  ).then(() => "", ({ message }) => message);
  await until(async () => (await engine.studio()).queued === 1 ? true : undefined);
  assertEquals(await server.stop(), 0);
  assertStringIncludes(await going, "the server was stopped");
  await assertRejects(() => engine.models(), Error, "the server cannot be reached");
});

commandTest(
  "serve shows a run that another process trains, until it is deleted",
  async (folder) => {
    await writeTinyDigits(`${folder}/digits`, 30);
    const results = `${folder}/results`;
    await using server = new Running("serve", ["--port", "0", "--results-dir", results]);
    const [, port] = await server.says(/http:\/\/localhost:(\d+)\//);
    const { runs } = new HttpEngine(`http://127.0.0.1:${port}/`);
    assertEquals(await runs.list(), []); // no such folder yet
    const line =
      "--data digits --device wasm --hidden-size 16 --depth 1 --num-heads 2 --batch-size 4 " +
      "--steps 1000000 --log-every 2 --sample-every 4 --sample-steps 2 --ckpt-every 8";
    await using training = new Running("train", words(line), folder);
    const run = await until(async () => (await runs.list()).find(({ drawn }) => drawn.length > 1));
    assertEquals([run.id, run.state, run.steps], ["000-DiT-Mini-4", "going", 1000000]);
    let lines: readonly { step: number }[] = [];
    let after = "";
    for (let parts = 0; parts < 3;) {
      const part = await runs.metrics(run.id, after);
      if (part.lines.length > 0) parts++;
      [lines, after] = [[...lines, ...part.lines], part.next];
    }
    assertEquals(lines.map(({ step }) => step), lines.map((_, i) => 2 * (i + 1)));
    const picture = await fetch(runs.picturesUrl(run.id, run.drawn[0]!));
    assertEquals(picture.headers.get("content-type"), "image/png");
    await decodePng(await picture.bytes());
    await training.stop();
    await Deno.remove(results, { recursive: true });
    assertEquals((await fetch(runs.picturesUrl(run.id, run.drawn[0]!))).status, 404);
    await until(async () => (await runs.list()).length === 0 ? true : undefined);
    assertEquals(await server.stop(), 0);
  },
);
