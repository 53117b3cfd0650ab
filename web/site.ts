/**
 * `site.json` beside the page: what its host gives it. The command that serves the page answers with
 * one, and the command that builds a page of static files writes one. Models and their weights are
 * at the same addresses on both, see addresses.ts, so that the visitor's browser can load them.
 */

/** What a page is given. */
export interface Site {
  /** Whether its host samples and shows runs as well, by its HTTP API. */
  readonly hasServer: boolean;
  /** `training.json`, which says what is trained on what, relative to the page; null without. */
  readonly trainingData: string | null;
}
