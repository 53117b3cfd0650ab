/**
 * The tables and the picture of docs/scaling.md, from the plan and from what was measured.
 *
 *     deno run --allow-read --allow-env --allow-write=docs bench/distributed/document.ts
 *
 * puts them into the document; its test holds the document to them.
 */
import { markdown, type Row } from "../measure.ts";
import { chart } from "./chart.ts";
import { curvesOf, inputsOf, tablesOf } from "./plan.ts";
import { Measurements } from "./results.ts";

/** The document. */
export const DOCUMENT = new URL("../../docs/scaling.md", import.meta.url);
/** Its picture. */
export const PICTURE = new URL("../../docs/scaling.svg", import.meta.url);

/** Tables by title, and the picture. */
export async function contents(): Promise<{ tables: Map<string, Row[]>; picture: string }> {
  const measured = await Measurements.read();
  const inputs = await inputsOf(measured);
  return { tables: tablesOf(inputs, measured), picture: chart(curvesOf(inputs)) };
}

/**
 * A text with its tables as they are now: each stands below a bold line that is its title.
 *
 * @throws {Error} unless every table has its place.
 */
export function withTables(text: string, tables: ReadonlyMap<string, readonly Row[]>): string {
  let result = text;
  for (const [title, rows] of tables) {
    const place = new RegExp(`(?<=^\\*\\*${RegExp.escape(title)}\\*\\*\\n\\n)(\\|.*\\n)*`, "m");
    if (!place.test(result)) throw new Error(`expected a line "**${title}**" and a table below it`);
    result = result.replace(place, () => `${markdown(rows)}\n`);
  }
  return result;
}

if (import.meta.main) {
  const { tables, picture } = await contents();
  const text = await Deno.readTextFile(DOCUMENT);
  await Deno.writeTextFile(DOCUMENT, withTables(text, tables));
  await Deno.writeTextFile(PICTURE, picture);
}
