/**
 * Runs command lines one after the other, as `main.ts` runs one, and prints how they ended as JSON:
 *
 *     deno run --allow-read ... tests/command_lines.ts '[["sample", "--n", "0"]]'
 */
import { main } from "../cli/main.ts";
import type { Ended } from "./commands.ts";

const { log, error } = console;
const ended: Ended[] = [];
for (const line of JSON.parse(Deno.args[0]!) as string[][]) {
  const [out, err]: [string[], string[]] = [[], []];
  console.log = (...words) => out.push(`${words.join(" ")}\n`);
  console.error = (...words) => err.push(`${words.join(" ")}\n`);
  const code = await main(line);
  ended.push({ code, out: out.join(""), err: err.join("") });
}
Object.assign(console, { log, error });
console.log(JSON.stringify(ended));
Deno.exit(0); // devices keep their threads
