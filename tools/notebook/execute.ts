/** Runs a notebook's program, whose address it is started with, and prints what each cell gave. */
import { captureConsole, cellOutputs, fail } from "./kernel.ts";

const [print, complain] = [console.log.bind(console), console.error.bind(console)];
captureConsole();
let code = 0;
try {
  await import(Deno.args[0]!);
} catch (error) {
  if (cellOutputs().length === 0) complain(error); // no cell has begun
  else fail(error);
  code = 1;
}
for (const cell of cellOutputs()) print(JSON.stringify(cell));
Deno.exit(code); // threads that wait for work would keep the process
