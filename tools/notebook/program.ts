/** A notebook as a program: its cells one after the other in one scope, as a kernel has them. */
import { type Notebook, textOf } from "./format.ts";

/** A variable, so that checking types fetches nothing. */
export const PARSER = "npm:@babel/parser@8.1.3";

/** A part of a text. */
interface Span {
  readonly start: number;
  readonly end: number;
}

/** A statement, as far as it is looked at. */
interface Statement extends Span {
  readonly type: string;
  readonly expression: Span;
}

type Parse = (code: string, options: object) => { readonly program: { body: Statement[] } };

/** Under which name programs see the running kernel. */
const KERNEL = "$kernel";

/**
 * Makes a program of the code cells: it says which cell begins, and hands over the value of a cell
 * that ends with an expression.
 *
 * @param kernel The address of the kernel's module.
 * @throws {SyntaxError} naming the cell that does not parse.
 */
export async function programOf({ cells }: Notebook, kernel: string): Promise<string> {
  const { parse } = await import(PARSER) as { parse: Parse };
  const parts = [
    `import * as ${KERNEL} from ${JSON.stringify(kernel)};`,
    `const Deno = ${KERNEL}.DenoInCells;`,
  ];
  for (const [i, cell] of cells.entries()) {
    if (cell.cell_type !== "code") continue;
    parts.push(`${KERNEL}.begin(${i});`, withResult(parse, textOf(cell.source), i));
  }
  return parts.join("\n") + "\n";
}

function withResult(parse: Parse, source: string, cell: number): string {
  let last: Statement | undefined;
  try {
    const options = {
      sourceType: "module",
      plugins: ["typescript", "explicitResourceManagement"],
      allowAwaitOutsideFunction: true,
    };
    last = parse(source, options).program.body.at(-1);
  } catch (error) {
    throw new SyntaxError(`cell ${cell}: ${(error as Error).message}`, { cause: error });
  }
  if (last?.type !== "ExpressionStatement") return source;
  const value = source.slice(last.expression.start, last.expression.end);
  return `${source.slice(0, last.start)}await ${KERNEL}.result((${value}\n));`;
}
