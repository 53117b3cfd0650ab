/** What the page consists of, for the commands that serve it and that build it as static files. */

/** A file of the page. */
export interface PageFile {
  /** What it is called beside `index.html`. */
  readonly name: string;
  /** Where its source is. */
  readonly source: URL;
  /** Whether it is TypeScript, to be bundled as a module; others are served as they are. */
  readonly isBundled: boolean;
}

const file = (name: string, source: string, isBundled = false): PageFile => ({
  name,
  source: new URL(source, import.meta.url),
  isBundled,
});

/** All of them; `site.json` and the weights, which differ from host to host, apart. */
export const PAGE_FILES: readonly PageFile[] = [
  file("index.html", "./page/index.html"),
  file("icon.svg", "./page/icon.svg"),
  ...["tokens", "base", "controls", "layout", "pictures", "charts"].map((name) =>
    file(`${name}.css`, `./page/styles/${name}.css`)
  ),
  file("page.js", "./page/main.ts", true),
  file("worker.js", "./worker.ts", true),
  file("training_worker.js", "./training_worker.ts", true),
];
