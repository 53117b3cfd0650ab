/** A model as tests describe it. */
import type { ModelInfo } from "./protocol.ts";

/** Of ten classes, in Gaussian diffusion. */
export const MODEL: ModelInfo = {
  id: "demo",
  title: "DiT-Mini/4",
  classNames: ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
  imageSize: 28,
  channels: 1,
  parameters: 1_283_600,
  bytes: 2_600_000,
  isLatent: false,
  process: "gaussian",
  canGuide: true,
  times: { least: 0, most: 999, grain: 1 },
  samplers: [
    { name: "dpm++", help: "", least: 1, most: 1000, usual: 20, hasEta: false },
    { name: "ddim", help: "", least: 1, most: 1000, usual: 50, hasEta: true },
  ],
  usual: { sampler: "dpm++", steps: 20, guidance: 2, interval: null },
};
