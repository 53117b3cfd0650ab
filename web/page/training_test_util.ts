/** A model that learns in a moment, and what it learns: bars that lie or stand. */
import { ImageArray } from "@dit/data";
import { modelConfigOf, settingsOf } from "../../cli/commands/train/settings.ts";
import { TRAIN_FLAGS } from "../../cli/commands/train/flags.ts";
import { parseFlags } from "../../cli/shared/flags.ts";
import { packImages, type TrainingPlan, trainingSettingsOf } from "../training_data.ts";

const SIDE = 8;
const CLASSES = ["lies", "stands", "both"];

/** Bars at every place. */
const IMAGES = new ImageArray({
  pixels: Uint8Array.from({ length: 3 * SIDE ** 3 }, (_, i) => {
    const [x, y, at] = [i, i / SIDE, i / SIDE ** 2].map((place) => Math.floor(place) % SIDE);
    const [lies, stands] = [y === at, x === at];
    return [lies, stands, lies || stands][Math.floor(i / SIDE ** 3)] ? 255 : 0;
  }),
  labels: Int32Array.from({ length: 3 * SIDE }, (_, i) => Math.floor(i / SIDE)),
  classNames: CLASSES,
  channels: 1,
  height: SIDE,
  width: SIDE,
});

/** The file of the images. */
export function trainingImages(): Promise<Uint8Array<ArrayBuffer>> {
  return packImages(IMAGES);
}

/** `training.json`, as `deno task build-page` writes it. */
export function trainingPlan(bytes = 1): TrainingPlan {
  const line = "--hidden-size 32 --depth 2 --num-heads 2 --steps 30 --batch-size 8 " +
    "--sample-every 10 --sample-steps 3 --warmup 2 --lr 0.005";
  const flags = parseFlags(line.split(" "), TRAIN_FLAGS);
  const settings = settingsOf(flags);
  const shape = {
    kind: "images" as const,
    channels: 1,
    side: SIDE,
    imageSize: SIDE,
    classNames: CLASSES,
    latents: null,
  };
  const config = { ...modelConfigOf(flags, settings, shape), name: "Bars" };
  return {
    title: "Bars, 24 images of 1x8x8 in 3 classes",
    config,
    settings: trainingSettingsOf({ ...settings, steps: 30 }),
    data: "images.bin",
    bytes,
  };
}
