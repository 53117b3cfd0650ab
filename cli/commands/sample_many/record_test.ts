import { assertEquals, assertThrows } from "@std/assert";
import { CommandError } from "../../shared/errors.ts";
import { folderName, type RecordedSettings, recordText, requireSameRecord } from "./record.ts";

const SETTINGS: RecordedSettings = {
  weights: "a".repeat(64),
  weightSet: "ema",
  model: "DiT-XL/2",
  numHeads: 16,
  process: "gaussian",
  objective: "epsilon",
  noiseSchedule: "linear",
  diffusionSteps: 1000,
  timeShift: null,
  autoencoder: "b".repeat(64),
  sampler: "ddpm",
  steps: 250,
  eta: 0,
  cfgScale: 1.5,
  cfgChannels: 3,
  cfgInterval: null,
  internalScale: null,
  seed: 0,
  labels: "random",
  dtype: "f32",
  device: "wasm",
  group: null,
  png: true,
};

Deno.test("folders are named as sample_ddp.py names them", () => {
  const published = {
    model: "DiT-XL/2",
    ckpt: null,
    size: 256,
    vae: "ema",
    cfgScale: 1.5,
    seed: 0,
  };
  assertEquals(
    folderName(published),
    "DiT-XL-2-pretrained-size-256-vae-ema-cfg-1.5-seed-0",
  );
  assertEquals(
    folderName({ ...published, ckpt: "results/000-DiT-B-4/checkpoints/0050000.pt", cfgScale: 4 }),
    "DiT-XL-2-0050000-size-256-vae-ema-cfg-4.0-seed-0",
  );
  assertEquals(
    folderName({ ...published, ckpt: "a.b/mine.safetensors", vae: "models/vae.safetensors" }),
    "DiT-XL-2-mine-size-256-vae-vae-cfg-1.5-seed-0",
  );
});

Deno.test("samples that were made otherwise are refused with all that differs", () => {
  const text = recordText({ settings: SETTINGS, about: { version: "1" } }, 50);
  assertEquals(JSON.parse(text).images, 50);
  requireSameRecord(text, { ...SETTINGS }, "x");
  const other = { ...SETTINGS, cfgScale: 4, png: false, weights: "c".repeat(64) };
  const error = assertThrows(() => requireSameRecord(text, other, "folder"), CommandError);
  assertEquals(
    error.message,
    "folder: expected samples that were made in the same way but the SHA-256 of the weights " +
      "(--ckpt) was aaaaaaaaaaaa... and is cccccccccccc..., --cfg-scale was 1.5 and is 4, --png " +
      "was on and is off; give the same flags, or another --sample-dir",
  );
  for (const key of Object.keys(SETTINGS)) {
    const changed = { ...SETTINGS, [key]: "other" };
    assertThrows(() => requireSameRecord(text, changed, "x"), CommandError, "is other");
  }
  const clearing = recordText({
    settings: { ...SETTINGS, sampler: "\x1b[2J" as "ddpm" },
    about: {},
  });
  assertThrows(() => requireSameRecord(clearing, SETTINGS, "x"), CommandError, 'was "\\u001b[2J"');
  const noJson = "x: expected what samples were made by, as JSON, but found something else; move";
  assertThrows(() => requireSameRecord("{", SETTINGS, "x"), CommandError, noJson);
  assertThrows(
    () => requireSameRecord("null", SETTINGS, "x"),
    CommandError,
    "does not say what its samples were made by",
  );
});
