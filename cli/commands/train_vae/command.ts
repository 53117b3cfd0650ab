/**
 * `deno task train-vae`: trains an autoencoder (AutoencoderKL), so that latents of one's own images
 * need nothing that is downloaded.
 *
 *     deno task train-vae --data photos --image-size 64
 *     deno task extract-features --data photos --image-size 64 --vae results/vae
 */
import type { SafetensorsFile } from "@dit/core/io";
import { type Device, OutOfMemoryError } from "@dit/core/tensor";
import { BatchSampler, type ImageFolder, Loader, type SamplerPosition } from "@dit/data";
import { join } from "@std/path";
import { deviceText, startDevice } from "../../shared/device.ts";
import { CommandError, EXIT, UsageError } from "../../shared/errors.ts";
import { exists, removeTemporaries, writeWhole } from "../../shared/files.ts";
import { flagsHelp, parseFlags } from "../../shared/flags.ts";
import { findings, imagesText, openImages, refuseInside } from "../../shared/images.ts";
import { Meter, MetricsFile, waitingText } from "../../run/metrics.ts";
import { duration, ProgressLine } from "../../shared/progress.ts";
import { toCommandError } from "../../shared/failures.ts";
import { DIFFUSERS_FILES } from "../../model/weight_file.ts";
import { sortOut } from "../../run/records.ts";
import { stopRequests } from "../../run/stop.ts";
import { resumedVaeSettings, VAE_FLAGS, VAE_GROUPS, type VaeFlags, vaeSettings } from "./flags.ts";
import { measureLatents, reconstructionGrid, saveAutoencoder } from "./result.ts";
import { openVaeTraining, type VaeState, VaeTraining } from "./step.ts";

const HELP = `Trains an autoencoder of images, for latents of them.

  deno task train-vae --data photos --image-size 64
  deno task extract-features --data photos --image-size 64 --vae results/vae
  deno task train-vae --resume                     continues where it was ended

${flagsHelp(VAE_GROUPS)}`;

/** What a run goes on from. */
const TRAINING_FILE = "training.safetensors";
const GRID_FILE = "reconstructions.png";

/** Runs the command; returns its exit code. */
export async function run(args: readonly string[]): Promise<number> {
  const flags = parseFlags(args, VAE_FLAGS);
  if (flags.help) {
    console.log(HELP);
    return 0;
  }
  try {
    const resumes = flags.resume === "auto"
      ? await exists(join(outOf(flags), TRAINING_FILE))
      : flags.resume !== undefined;
    return await (resumes ? resume(flags) : start(flags));
  } catch (error) {
    if (!(error instanceof OutOfMemoryError)) throw toCommandError(error);
    const advice =
      "--grad-accum, --mixed-precision fp16, or a smaller --batch-size or --image-size";
    throw new CommandError(`${error.message}. Use ${advice}`, { cause: error });
  }
}

/** The folder of the run. */
function outOf({ resume, out }: VaeFlags): string {
  const named = typeof resume === "string" && resume !== "latest" && resume !== "auto";
  return named ? resume : out ?? VAE_FLAGS.out.default;
}

/** A new run. */
async function start(flags: VaeFlags): Promise<number> {
  const settings = vaeSettings(flags);
  const out = outOf(flags);
  refuseInside("--out", out, settings.data);
  for (const file of [TRAINING_FILE, ...DIFFUSERS_FILES]) {
    if (!await exists(join(out, file))) continue;
    const advice = file === TRAINING_FILE ? "continue with --resume, or " : "";
    throw new UsageError(
      `--out: expected a new folder but ${join(out, file)} is there already; ${advice}take another`,
    );
  }
  return await train(new Opening(settings, out, flags));
}

/** A run that is continued. */
async function resume(flags: VaeFlags): Promise<number> {
  const out = outOf(flags);
  const { file, state } = await openVaeTraining(join(out, TRAINING_FILE));
  try {
    const settings = resumedVaeSettings(state.settings, flags);
    refuseInside("--out", out, settings.data);
    if (state.step > settings.steps) {
      throw new UsageError(`--steps: expected ${state.step} or more, which ${out} has, already`);
    }
    return await train(new Opening(settings, out, flags, { file, state }));
  } finally {
    file.close();
  }
}

/** What a run begins with. */
class Opening {
  constructor(
    readonly settings: ReturnType<typeof vaeSettings>,
    readonly out: string,
    readonly flags: VaeFlags,
    readonly before?: { readonly file: SafetensorsFile; readonly state: VaeState },
  ) {}
}

async function train({ settings, out, flags, before }: Opening): Promise<number> {
  using line = new ProgressLine("         ");
  await using images = await openImages(settings.data, {
    size: settings.imageSize,
    workers: settings.workers,
    strict: settings.strict,
    warn: (message) => line.note(message),
  });
  const sampler = new BatchSampler({
    size: images.size,
    batchSize: settings.batchSize,
    seed: settings.seed,
    flip: settings.flip,
    ...(before ? { position: before.state.position } : {}),
  });
  const device = await startDevice(flags.device ?? "auto");
  using training = new VaeTraining(settings);
  if (before) await training.load(before.file, before.state);
  await Deno.mkdir(out, { recursive: true });
  await removeTemporaries(out);
  const { model } = training;
  const side = settings.imageSize / model.factor;
  const latent = [settings.latentChannels, side, side].join("x");
  console.log(`model    ${model.parameterCount().toLocaleString("en")} parameters`);
  console.log(`images   ${imagesText(images)}; latents ${latent}`);
  console.log(`device   ${deviceText(device)}`);
  console.log(`run      steps ${training.step} to ${settings.steps} in ${out}`);
  using stop = stopRequests();
  await using loader = new Loader(images, sampler);
  const metrics = await MetricsFile.open(out, training.step);
  const run = new VaeRun({ training, images, out, line, metrics, device });
  const finished = await run.go(loader, () => stop.requested);
  line.end();
  if (finished) await run.finish();
  for (const text of findings(images)) console.log(text);
  if (!finished) {
    console.log(
      `stopped at step ${training.step}; go on with: deno task train-vae --resume --out ${out}`,
    );
    return EXIT.interrupted;
  }
  return 0;
}

/** What a run consists of. */
interface Parts {
  readonly training: VaeTraining;
  readonly images: ImageFolder;
  readonly out: string;
  readonly line: ProgressLine;
  readonly metrics: MetricsFile;
  readonly device: Device;
}

/** A run from its first step to its last. */
class VaeRun {
  readonly #training: VaeTraining;
  readonly #images: ImageFolder;
  readonly #out: string;
  readonly #line: ProgressLine;
  readonly #metrics: MetricsFile;
  readonly #device: Device;
  readonly #meter: Meter;
  readonly #start = performance.now();
  readonly #terminal = Deno.stderr.isTerminal();

  constructor({ training, images, out, line, metrics, device }: Parts) {
    [this.#training, this.#images, this.#out] = [training, images, out];
    [this.#line, this.#metrics] = [line, metrics];
    const { settings, step } = training;
    this.#device = device;
    this.#meter = new Meter(device, settings.batchSize, step, metrics.last);
  }

  /** Trains; returns whether it came to its end. */
  async go(loader: Loader, stopping: () => boolean): Promise<boolean> {
    const training = this.#training;
    const { steps, logEvery, ckptEvery } = training.settings;
    while (training.step < steps && !stopping()) {
      training.takeStep(await loader.next());
      await this.#device.backend.ready(); // no more than about a second of steps is queued
      await new Promise((resolve) => setTimeout(resolve, 0)); // signals get their turn
      const { step } = training;
      if (step % logEvery === 0 || step === steps) await this.#measure(loader.waitSeconds);
      if (step % ckptEvery === 0 || step === steps) {
        await this.#settle();
        await this.#meter.without(() => this.#save(loader.position));
      }
      if (this.#terminal) this.#line.show(step, steps, this.#figures());
    }
    if (training.step < steps) await this.#save(loader.position);
    return training.step === steps;
  }

  /** Measures the latents and writes the averaged weights. */
  async finish(): Promise<void> {
    const { ema, model, settings } = this.#training;
    const path = await ema.swapped(async () => {
      await this.#draw();
      const measure = await measureLatents(model, this.#images, settings.batchSize);
      const path = await saveAutoencoder(this.#out, model, model.stateDict(), measure);
      const psnr = 10 * Math.log10(4 / measure.squaredError);
      console.log(
        `latents  deviation ${measure.std.toPrecision(4)}, so scaling factor ` +
          `${(1 / measure.std).toPrecision(5)}; ${measure.kl.toPrecision(3)} nats a value; ` +
          `PSNR ${psnr.toFixed(1)} dB, on ${measure.images} images`,
      );
      return path;
    });
    const seconds = (performance.now() - this.#start) / 1000;
    console.log(`written  ${path}, ${duration(seconds)}; look at ${join(this.#out, GRID_FILE)}`);
    const size = settings.imageSize;
    console.log(
      `make latents with: deno task extract-features --data ${settings.data} --image-size ${size} ` +
        `--vae ${this.#out}`,
    );
  }

  /** Takes the records from the device, and stops the run where they are not numbers. */
  async #settle(): Promise<void> {
    const { records, scaler, settings } = this.#training;
    const scale = settings.mixedPrecision === "fp16" ? (await scaler.state()).scale : null;
    const { finite, wrong } = sortOut(await records.take(), scale);
    if (wrong) {
      throw new CommandError(
        `step ${wrong.step}: the loss or its gradient is not a finite number; its last checkpoint ` +
          `is from before. Take a lower --lr${scale === null ? "" : ", or --mixed-precision no"}`,
      );
    }
    this.#meter.add(finite);
  }

  /** A line of metrics. */
  async #measure(waited: number): Promise<void> {
    await this.#settle();
    const { step, settings, scaler } = this.#training;
    const { scale, skipped } = await scaler.state();
    const metrics = this.#meter.read({
      step,
      waited,
      damaged: this.#images.damaged.size,
      scaler: settings.mixedPrecision === "fp16" ? { scale, skipped } : null,
    });
    if (metrics === undefined) return;
    await this.#metrics.add(metrics);
    if (!this.#terminal) console.log(`step ${step}/${settings.steps}  ${this.#figures()}`);
  }

  #figures(): string {
    const last = this.#metrics.last;
    if (!last) return "";
    const { loss, kl, lr, imagesPerSecond } = last;
    return `${this.#training.settings.loss} ${loss.toFixed(4)}, kl ${kl!.toPrecision(3)} nats, ` +
      `lr ${lr.toExponential(2)}, ${imagesPerSecond.toPrecision(3)} images/s${waitingText(last)}`;
  }

  async #save(position: SamplerPosition): Promise<void> {
    await this.#settle(); // never a checkpoint of a run that has gone wrong
    await this.#training.save(join(this.#out, TRAINING_FILE), position);
    if (this.#training.step < this.#training.settings.steps) {
      await this.#training.ema.swapped(() => this.#draw());
    }
  }

  async #draw(): Promise<void> {
    const png = await reconstructionGrid(this.#training.model, this.#images);
    await writeWhole(join(this.#out, GRID_FILE), png);
  }
}
