/** What is answered to each request: the page, models and their weights, sampling, and runs. */
import {
  ADDRESSES,
  readSampleRequest,
  RequestError,
  type SampleRequest,
  type Site,
  type StudioInfo,
  type WireEvent,
} from "@dit/web";
import { FastTierError } from "../../shared/device.ts";
import { messageOf } from "../../shared/errors.ts";
import { BUG, type Sampling, SamplingError } from "./device_thread.ts";
import { readJsonBody } from "./http/body.ts";
import { EventStream } from "./http/event_stream.ts";
import { guard, type Names, SAFE_HEADERS } from "./http/guard.ts";
import { HttpError } from "./http/http_error.ts";
import { Permits } from "./http/patient_stream.ts";
import { fileResponse, type ServedFile } from "./http/ranges.ts";
import { BusyError, type Jobs } from "./jobs.ts";
import { isPlace } from "./metrics_part.ts";
import type { Models, ServedModel } from "./models.ts";
import type { Page } from "./page.ts";
import type { RunFolders } from "./runs.ts";
import { autoencoderFile, weightsFile } from "./weights_of.ts";

/** Bodies that are read at a time; more are refused. */
const MOST_BODIES = 64;

/** Files of weights that are read at a time; others wait. */
const MOST_WEIGHTS = 8;

/** Milliseconds without an event after which the last one is sent again, for proxies between. */
const BEAT = 15_000;

/** What a studio is made of. */
export interface StudioParts {
  readonly models: Models;
  readonly runs: RunFolders;
  readonly thread: Sampling;
  readonly jobs: Jobs;
  readonly page: Page;
  readonly names: Names;
  /** Called where the device gives wrong numbers in the fast tier: the program has to start again. */
  readonly onUnfit: (error: FastTierError) => void;
}

/** What is asked of how an answer went: settled once it was sent, or could not be. */
export interface AnswerInfo {
  readonly completed: Promise<unknown>;
}

/** Answers requests. */
export class Studio {
  readonly #parts: StudioParts;
  readonly #weights = new Permits(MOST_WEIGHTS);
  /** Requests that are sampled or wait. */
  readonly #cancels = new Set<AbortController>();
  #bodies = 0;

  /** @param parts What it is made of. */
  constructor(parts: StudioParts) {
    this.#parts = parts;
  }

  /** The answer to a request; never throws. */
  async answer(request: Request, info: AnswerInfo): Promise<Response> {
    const response = await this.#answer(request, info).catch(refusal);
    for (const [name, value] of Object.entries(SAFE_HEADERS)) response.headers.set(name, value);
    if (request.method !== "HEAD" || response.body === null) return response;
    await response.body.cancel();
    return new Response(null, response);
  }

  /** Ends all that is sampled, and all that waits. */
  stop(): void {
    for (const cancel of this.#cancels) cancel.abort(new SamplingError("the server was stopped"));
  }

  async #answer(request: Request, info: AnswerInfo): Promise<Response> {
    if (!URL.canParse(request.url)) throw new HttpError(400, "expected an address");
    const { pathname, searchParams } = new URL(request.url);
    guard(request, pathname, this.#parts.names);
    const path = pathname.slice(1);
    if (path === ADDRESSES.sample) {
      checkMethod(request, "POST");
      return await this.#sample(request, info);
    }
    checkMethod(request, "GET", "HEAD");
    const { models, runs, page } = this.#parts;
    switch (path) {
      case ADDRESSES.site:
        return json({ hasServer: true, trainingData: null } satisfies Site);
      case ADDRESSES.studio:
        return json(this.#info());
      case ADDRESSES.models:
        return json({ models: (await models.list()).map(({ info }) => info) });
      case ADDRESSES.runs:
        return json({ runs: await runs.list() });
    }
    const [, model, file] = /^models\/([\w.-]+)\/(weights|autoencoder)\.safetensors$/.exec(path) ??
      [];
    if (model !== undefined) return await this.#modelFile(request, model, file!);
    const [, run, rest] = /^runs\/([\w.-]+)\/(.+)$/.exec(path) ?? [];
    if (run !== undefined) return await this.#runFile(run, rest!, searchParams.get("after") ?? "");
    if (path === "") this.#parts.thread.open(); // its visitor is about to draw
    const asset = await page.get(path === "" ? "index.html" : path);
    if (asset === undefined) throw notFound();
    return fileResponse(request, asset, asset.type);
  }

  #info(): StudioInfo {
    const { thread, jobs } = this.#parts;
    return { device: thread.device, queued: jobs.length, mostQueued: jobs.most };
  }

  async #modelFile(request: Request, id: string, name: string): Promise<Response> {
    const model = await this.#parts.models.find(id);
    if (model === undefined) throw notFound();
    let file: ServedFile | undefined;
    try {
      file = name === "weights" ? await weightsFile(model) : await autoencoderFile(model);
    } catch (error) { // removed just now, damaged, or another autoencoder
      console.error(messageOf(error));
    }
    if (file === undefined) throw notFound();
    const { size, etag, read } = file;
    const permits = this.#weights;
    const limited: ServedFile = {
      size,
      etag,
      async *read(start, end) {
        using _ = await permits.take();
        yield* read(start, end);
      },
    };
    return fileResponse(request, limited, "application/octet-stream");
  }

  async #runFile(run: string, name: string, after: string): Promise<Response> {
    const { runs } = this.#parts;
    if (name === "metrics.json") {
      if (after !== "" && !isPlace(after)) throw new HttpError(400, "after: expected a place");
      const part = await runs.metrics(run, after);
      if (part === undefined) throw notFound();
      return json(part);
    }
    const step = /^pictures\/(\d{1,12})\.png$/.exec(name)?.[1];
    const png = step === undefined ? undefined : await runs.picture(run, Number(step));
    if (png === undefined) throw notFound();
    const headers = { "content-type": "image/png", "cache-control": "no-cache" };
    return new Response(png, { headers });
  }

  /** Samples what a request asks for, as long as somebody reads how it goes. */
  async #sample(request: Request, info: AnswerInfo): Promise<Response> {
    const { jobs, models } = this.#parts;
    jobs.check(); // before anything is read
    const body = await this.#body(request);
    const served = await models.list();
    const asked = readSampleRequest(body, served.map(({ info }) => info));
    const model = served.find(({ id }) => id === asked.model)!;
    const place = jobs.take();
    const cancel = new AbortController();
    this.#cancels.add(cancel);
    const stream = new EventStream(() => cancel.abort(new SamplingError("the page was left")));
    const release = () => {
      place[Symbol.dispose]();
      cancel.abort(new SamplingError("the page was left"));
      this.#cancels.delete(cancel);
    };
    info.completed.then(release, release);
    this.#run(model, asked, stream, cancel.signal);
    const headers = { "content-type": "application/octet-stream", "cache-control": "no-store" };
    return new Response(stream.body, { headers });
  }

  async #body(request: Request): Promise<unknown> {
    if (this.#bodies >= MOST_BODIES) throw busy("too many requests at once; try again");
    this.#bodies++;
    try {
      return await readJsonBody(request);
    } finally {
      this.#bodies--;
    }
  }

  async #run(
    model: ServedModel,
    request: SampleRequest,
    stream: EventStream,
    signal: AbortSignal,
  ): Promise<void> {
    const { jobs, thread, onUnfit } = this.#parts;
    let last: WireEvent = { kind: "queued", ahead: 0 };
    let at = performance.now();
    const onEvent = (event: WireEvent) => {
      [last, at] = [event, performance.now()];
      if (event.kind === "done") stream.end(event);
      else stream.send(event);
    };
    const beat = setInterval(() => {
      if (performance.now() - at > BEAT && !stream.isBehind) onEvent(last);
    }, BEAT / 3);
    try {
      await jobs.run(signal, (ahead) => onEvent({ kind: "queued", ahead }), async () => {
        const wantsPreview = () => !stream.isBehind;
        await thread.sample(model, request, { signal, onEvent, wantsPreview });
      });
    } catch (error) {
      if (error instanceof FastTierError) onUnfit(error);
      else if (!(error instanceof SamplingError)) console.error(error);
      const message = error instanceof SamplingError
        ? error.message
        : error instanceof FastTierError
        ? "the server starts again without its fast kernels; try again in a moment"
        : BUG;
      stream.end({ kind: "failed", message });
    } finally {
      clearInterval(beat);
    }
  }
}

function checkMethod({ method }: Request, ...methods: readonly string[]): void {
  if (methods.includes(method)) return;
  const allow = methods.join(", ");
  throw new HttpError(405, `expected ${allow} but got ${method.slice(0, 20)}`, { allow });
}

function json(value: unknown): Response {
  return Response.json(value, { headers: { "cache-control": "no-store" } });
}

function notFound(): HttpError {
  return new HttpError(404, "there is nothing of that name");
}

function busy(message: string): HttpError {
  return new HttpError(503, message, { "retry-after": "2" });
}

/** The answer to what cannot be answered. */
function refusal(error: unknown): Response {
  if (error instanceof BusyError) return refusal(busy(error.message));
  if (error instanceof RequestError) return refusal(new HttpError(400, error.message));
  if (!(error instanceof HttpError)) {
    console.error(error);
    return refusal(new HttpError(500, "an error of the program; the server's output has it"));
  }
  const { status, message, headers } = error;
  return Response.json({ error: message }, {
    status,
    headers: { "cache-control": "no-store", ...headers },
  });
}
