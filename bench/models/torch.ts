/** PyTorch in a process of its own, which takes the same steps when it is asked. */
import { fromFileUrl } from "@std/path";

/** What is trained there. */
export interface TorchJob {
  /** `DiT-S`, without the patch size. */
  readonly size: string;
  readonly patch: number;
  readonly batch: number;
  /** Of the images or latents. */
  readonly side: number;
  readonly channels: number;
  readonly classes: number;
  readonly learnSigma: boolean;
}

/** What can be timed. */
export type TorchWork = "step" | "forward";

const PYTHONS = ["python3", "/usr/bin/python3"];

/** The first Python that has PyTorch, or null. */
export async function findTorch(): Promise<string | null> {
  for (const python of PYTHONS) {
    try {
      const args = ["-c", "import torch"];
      const options = { args, stdout: "null", stderr: "null" } as const;
      if ((await new Deno.Command(python, options).output()).success) return python;
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  return null;
}

/** One model in PyTorch. */
export class Torch implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #lines: ReadableStreamDefaultReader<string>;
  readonly #requests: WritableStreamDefaultWriter<Uint8Array>;
  #rest = "";

  private constructor(child: Deno.ChildProcess) {
    this.#child = child;
    this.#lines = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    this.#requests = child.stdin.getWriter();
  }

  /** Makes the model. */
  static async start(python: string, job: TorchJob): Promise<{ torch: Torch; version: string }> {
    const program = fromFileUrl(new URL("torch_models.py", import.meta.url));
    const torch = new Torch(
      new Deno.Command(python, {
        args: [program, JSON.stringify(job)],
        stdin: "piped",
        stdout: "piped",
      }).spawn(),
    );
    const { torch: version } = JSON.parse(await torch.#answer());
    return { torch, version };
  }

  /** Does it `times` times without a break, and says how many seconds the fastest took. */
  async time(work: TorchWork, threads: number, times: number): Promise<number> {
    await this.#requests.write(new TextEncoder().encode(`${work} ${threads} ${times}\n`));
    return JSON.parse(await this.#answer());
  }

  async #answer(): Promise<string> {
    for (;;) {
      const end = this.#rest.indexOf("\n");
      if (end >= 0) {
        const line = this.#rest.slice(0, end);
        this.#rest = this.#rest.slice(end + 1);
        return line;
      }
      const { value, done } = await this.#lines.read();
      if (done) {
        const { code } = await this.#child.status;
        throw new Error(`PyTorch ended with ${code} where an answer was expected`);
      }
      this.#rest += value;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#requests.close().catch(() => {}); // it may have ended by itself
    await this.#lines.cancel();
    await this.#child.status;
  }
}
