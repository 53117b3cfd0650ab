/**
 * `site.json` beside the page: what its host gives it. The command that serves the page answers with
 * one, and the command that builds a page of static files writes one.
 */
import type { ModelInfo } from "./protocol.ts";

/** A model whose weights the visitor's browser can load. */
export interface BrowserModel {
  readonly info: ModelInfo;
  /** A safetensors file, relative to the page; or one that the page made itself. */
  readonly weights: string | Blob;
}

/** What a page is given. */
export interface Site {
  /** Whether its host samples and shows runs as well, by its HTTP API. */
  readonly hasServer: boolean;
  /** What the browser can sample from. */
  readonly browserModels: readonly (BrowserModel & { readonly weights: string })[];
  /** Data to train a model on in the browser, relative to the page; null where there are none. */
  readonly trainingData: string | null;
}
