/**
 * What is where on the server of a studio, as seen from its page. A page of static files has
 * `site.json`, `models.json`, weights and autoencoders at these addresses as well.
 */

/** The folder or route of everything, without a first slash; a page's own address is before it. */
export const ADDRESSES = {
  /** GET: a `Site`; a page of static files has one as well. */
  site: "site.json",
  /** GET: a `StudioInfo`. */
  studio: "studio.json",
  /** GET: `{ models }`, a list of `ModelInfo`. */
  models: "models.json",
  /**
   * GET: the weights of a model as a checkpoint of `deno task train` with the averaged weights alone
   * (tensors `ema.NAME`), whatever file they come from; by ranges.
   */
  weights: (model: string): string => `models/${model}/weights.safetensors`,
  /** GET: the autoencoder of a model of latents, as `deno task train-vae` writes it; by ranges. */
  autoencoder: (model: string): string => `models/${model}/autoencoder.safetensors`,
  /** POST: a `SampleRequest` as JSON; answered by frames, see frames.ts. */
  sample: "sample",
  /** GET: `{ runs }`, a list of `RunInfo`. */
  runs: "runs.json",
  /** GET: a `MetricsPart`. */
  metrics: (run: string, after = ""): string =>
    `runs/${run}/metrics.json${after === "" ? "" : `?after=${encodeURIComponent(after)}`}`,
  /** GET: pictures that a run drew after a step, PNG. */
  pictures: (run: string, step: number): string => `runs/${run}/pictures/${step}.png`,
} as const;

/** Whether a text is an id, as models and runs have: 1 to 100 letters, digits, `-`, `_` and `.`. */
export function isId(text: string): boolean {
  return /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$/.test(text);
}
