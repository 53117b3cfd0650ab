/**
 * What a page of static files trains a model on: `training.json`, which says what is trained and
 * how, and beside it the images, packed, in one file.
 */
import { type HostTensor, hostTensor, loadSafetensors, writeSafetensors } from "@dit/core/io";
import { BytesSink } from "@dit/core/io";
import { DIT, Fields, type ModelConfig, type RateSettings } from "@dit/core/pipeline";
import type { SamplerName, TimestepSamplerName } from "@dit/core/diffusion";
import { type Dataset, ImageArray, toPixels } from "@dit/data";

/** How a model is trained: as `deno task train` has it, whose settings these are. */
export interface TrainingSettings extends RateSettings {
  readonly seed: number;
  readonly steps: number;
  readonly batchSize: number;
  readonly flip: boolean;
  readonly lr: number;
  readonly weightDecay: number;
  readonly beta2: number;
  readonly emaDecay: number | string;
  readonly emaWarmup: boolean;
  readonly gradClip: number;
  readonly mixedPrecision: "no" | "fp16";
  readonly timestepSampler: TimestepSamplerName;
  readonly timeMean: number;
  readonly timeScale: number;
  readonly sampleEvery: number;
  readonly sampleSampler: SamplerName;
  readonly sampleSteps: number;
  readonly cfgScale: number;
}

/** The names of these settings. */
const SETTINGS = [
  "schedule",
  "warmup",
  "seed",
  "steps",
  "batchSize",
  "flip",
  "lr",
  "weightDecay",
  "beta2",
  "emaDecay",
  "emaWarmup",
  "gradClip",
  "mixedPrecision",
  "timestepSampler",
  "timeMean",
  "timeScale",
  "sampleEvery",
  "sampleSampler",
  "sampleSteps",
  "cfgScale",
] as const satisfies readonly (keyof TrainingSettings)[];

/** `training.json`. */
export interface TrainingPlan {
  /** What is trained, such as `DiT-Mini/4, 1,284,920 parameters, on 60,000 images of mnist`. */
  readonly title: string;
  readonly config: ModelConfig;
  readonly settings: TrainingSettings;
  /** The file of the images, relative to this one, and its bytes. */
  readonly data: string;
  readonly bytes: number;
}

/** The settings among others. */
export function trainingSettingsOf(settings: TrainingSettings): TrainingSettings {
  return Object.fromEntries(
    SETTINGS.map((name) => [name, settings[name]]),
  ) as unknown as TrainingSettings;
}

/**
 * Reads `training.json`.
 *
 * @throws {ConfigError} naming what is not as expected.
 */
export function readTrainingPlan(json: unknown): TrainingPlan {
  const plan = new Fields(json, "training.json: ");
  const settings = plan.fields("settings");
  for (const name of ["seed", "warmup", "sampleEvery"]) settings.integer(name, 0);
  for (const name of ["steps", "batchSize", "sampleSteps"]) settings.integer(name, 1);
  return {
    title: plan.text("title"),
    config: DIT.readConfig(plan.fields("config")),
    settings: settings.values as unknown as TrainingSettings,
    data: plan.text("data"),
    bytes: plan.integer("bytes", 1),
  };
}

/** Images that are read at a time. */
const AT_ONCE = 1000;

/**
 * The file of a dataset's images: safetensors of `images` (u8 `[N, H, W, C]`) and `labels` (i32
 * `[N]`), packed by gzip.
 */
export async function packImages(dataset: Dataset): Promise<Uint8Array<ArrayBuffer>> {
  const { size, channels, height, width, labels } = dataset;
  const pixels = new Uint8Array(size * channels * height * width);
  for (let first = 0, at = 0; first < size; first += AT_ONCE) {
    const count = Math.min(AT_ONCE, size - first);
    const { images } = await dataset.read(Array.from({ length: count }, (_, i) => first + i));
    const bytes = toPixels(images, { channels, height, width });
    pixels.set(bytes, at);
    at += bytes.length;
  }
  const sink = new BytesSink();
  const tensors = new Map<string, HostTensor>([
    ["images", hostTensor(pixels, [size, height, width, channels])],
    ["labels", hostTensor(labels, [size])],
  ]);
  await writeSafetensors(sink, tensors);
  const packed = new Blob([sink.bytes()]).stream().pipeThrough(new CompressionStream("gzip"));
  return new Uint8Array(await new Response(packed).arrayBuffer());
}

/**
 * Reads that file. A server that unpacks it itself, as some do by its name, is welcome to.
 *
 * @throws {FormatError | DataError} where it is another file.
 */
export async function unpackImages(
  bytes: Uint8Array<ArrayBuffer>,
  { config, settings }: Pick<TrainingPlan, "config" | "settings">,
): Promise<ImageArray> {
  const isPacked = bytes[0] === 0x1f && bytes[1] === 0x8b;
  const tensors = await loadSafetensors(
    isPacked ? new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip")) : bytes,
  );
  const { inputSize, inChannels } = config.dit;
  const [images, labels] = [tensors.get("images"), tensors.get("labels")];
  if (images?.dtype !== "u8" || labels?.dtype !== "i32") {
    throw new Error("expected training data of images (u8) and labels (i32) but found others");
  }
  const [count] = images.shape;
  const shape = [count, inputSize, inputSize, inChannels];
  if (String(images.shape) !== String(shape) || String(labels.shape) !== String([count])) {
    throw new Error(
      `expected images of the shape [${shape}] but found [${images.shape}] and [${labels.shape}]`,
    );
  }
  return new ImageArray({
    pixels: images.data,
    labels: new Int32Array(labels.data.slice().buffer),
    classNames: config.classNames,
    channels: inChannels,
    height: inputSize,
    width: inputSize,
    flippable: settings.flip,
  });
}
