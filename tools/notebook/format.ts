/** Notebooks of Jupyter as files (nbformat 4.5): what is read of them, and what is written. */
import { CommandError } from "../../cli/shared/errors.ts";
import { readJson } from "../../cli/shared/files.ts";

/** A cell, as far as running it is concerned. */
export interface Cell {
  readonly cell_type: string;
  /** Lines with their ends, or one text. */
  readonly source: string | readonly string[];
  readonly metadata?: { readonly tags?: readonly string[] };
  execution_count?: number | null;
  outputs?: Output[];
}

/** A notebook. */
export interface Notebook {
  readonly nbformat: number;
  readonly cells: readonly Cell[];
}

/** What a notebook says of the language of its cells. */
interface Metadata {
  readonly kernelspec?: { readonly language?: unknown };
}

/** Text as it stands in a file: lines with their ends, or one text. */
export type Lines = string | readonly string[];

/** Representations of one thing, by media type. */
export type MediaBundle = Readonly<Record<string, unknown>>;

/** What running a cell gave. */
export type Output =
  | { readonly output_type: "stream"; readonly name: "stdout" | "stderr"; readonly text: Lines }
  | { readonly output_type: "display_data"; readonly data: MediaBundle; readonly metadata: object }
  | {
    readonly output_type: "execute_result";
    readonly data: MediaBundle;
    readonly metadata: object;
    readonly execution_count: number;
  }
  | {
    readonly output_type: "error";
    readonly ename: string;
    readonly evalue: string;
    readonly traceback: readonly string[];
  };

/** Text of a file as one string. */
export function textOf(lines: Lines): string {
  return typeof lines === "string" ? lines : lines.join("");
}

/** Text as nbformat writes it: lines with their ends. */
export function linesOf(text: string): string[] {
  return text.match(/[^\n]*\n|[^\n]+$/g) ?? [];
}

/**
 * Reads a notebook.
 *
 * @throws {CommandError} where it is none, or has cells of another language than Deno's.
 */
export async function readNotebook(path: string): Promise<Notebook> {
  const notebook = await readJson(path);
  const { nbformat, cells, metadata } = notebook;
  if (nbformat === undefined) {
    throw new CommandError(`${path}: expected a notebook but found another JSON file`);
  }
  if (nbformat !== 4 || !Array.isArray(cells)) {
    throw new CommandError(`${path}: expected a notebook of format 4 but got ${nbformat}`);
  }
  const { language } = (metadata as Metadata | undefined)?.kernelspec ?? {};
  if (language !== "typescript") {
    throw new CommandError(
      `${path}: expected a notebook for Deno's kernel but it is for ${language}`,
    );
  }
  return notebook as unknown as Notebook;
}

/** A notebook as Jupyter writes it. */
export function notebookText(notebook: Notebook): string {
  return JSON.stringify(notebook, null, 1) + "\n";
}
