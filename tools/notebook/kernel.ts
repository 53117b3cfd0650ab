/**
 * What stands in for Deno's Jupyter kernel while a notebook's program runs: `Deno.jupyter`, and a
 * console whose lines are outputs of the cell that runs.
 */
import { linesOf, type MediaBundle, type Output } from "./format.ts";
import type { CellOutputs } from "./run.ts";

/** How objects say what they look like in Jupyter. */
const DISPLAY: symbol = Symbol.for("Jupyter.display");

/** Outputs of each cell that has begun. */
const outputs = new Map<number, Output[]>();
let current: Output[] = [];

/** A cell begins. */
export function begin(cell: number): void {
  outputs.set(cell, current = []);
}

/** The value of the expression that a cell ends with. */
export async function result(value: unknown): Promise<void> {
  if (value === undefined) return;
  const data = await format(value);
  current.push({
    output_type: "execute_result",
    data,
    metadata: {},
    execution_count: outputs.size,
  });
}

/** What an object looks like, by media type. */
async function format(value: unknown): Promise<MediaBundle> {
  const display = (value as Record<symbol, unknown> | null)?.[DISPLAY];
  if (typeof display === "function") return await display.call(value);
  return { "text/plain": linesOf(Deno.inspect(value)) };
}

function displayable(data: MediaBundle): object {
  return { [DISPLAY]: () => data };
}

/** The literal of a tagged template, or a text. */
function literal(parts: TemplateStringsArray | string, ...values: readonly unknown[]): string {
  return typeof parts === "string" ? parts : String.raw({ raw: parts }, ...values);
}

const jupyter = {
  $display: DISPLAY,
  format,
  async display(value: unknown, { raw = false }: { raw?: boolean } = {}): Promise<void> {
    const data = raw ? value as MediaBundle : await format(value);
    current.push({ output_type: "display_data", data, metadata: {} });
  },
  image(image: string | Uint8Array): object {
    const bytes = typeof image === "string" ? Deno.readFileSync(image) : Uint8Array.from(image);
    const type = bytes[0] === 0x89 ? "image/png" : "image/jpeg";
    return displayable({ [type]: bytes.toBase64() });
  },
  html: (...of: Parameters<typeof literal>) => displayable({ "text/html": literal(...of) }),
  md: (...of: Parameters<typeof literal>) => displayable({ "text/markdown": literal(...of) }),
  svg: (...of: Parameters<typeof literal>) => displayable({ "image/svg+xml": literal(...of) }),
};

/** `Deno` as cells see it: its own `jupyter` is there in a kernel only, and cannot be replaced. */
export const DenoInCells: typeof Deno = Object.create(Deno, { jupyter: { value: jupyter } });

/** Lines of the console, those of one stream that follow each other in one output. */
function write(name: "stdout" | "stderr", values: readonly unknown[]): void {
  const line = values.map((value) => typeof value === "string" ? value : Deno.inspect(value));
  const last = current.at(-1);
  const before = last?.output_type === "stream" && last.name === name ? current.pop() : undefined;
  const text = [...(before as { text?: string[] } | undefined)?.text ?? []];
  current.push({ output_type: "stream", name, text: [...text, ...linesOf(`${line.join(" ")}\n`)] });
}

/** Makes the console's lines outputs of the cell that runs. */
export function captureConsole(): void {
  for (const name of ["log", "info", "debug"] as const) {
    console[name] = (...values: unknown[]) => write("stdout", values);
  }
  for (const name of ["warn", "error"] as const) {
    console[name] = (...values: unknown[]) => write("stderr", values);
  }
}

/** The cell that runs has failed. */
export function fail(error: unknown): void {
  const { name, message, stack } = error instanceof Error ? error : new Error(String(error));
  const traceback = (stack ?? message).split("\n");
  current.push({ output_type: "error", ename: name, evalue: message, traceback });
}

/** What each cell gave that has begun. */
export function cellOutputs(): CellOutputs[] {
  return Array.from(outputs, ([cell, outputs]) => ({ cell, outputs }));
}
