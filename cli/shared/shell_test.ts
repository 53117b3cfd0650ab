import { assertEquals } from "@std/assert";
import { shellWord } from "./shell.ts";

Deno.test("words of command lines that are shown are quoted where shells would divide them", () => {
  const plain = ["results/000-DiT-Mini-4", "C:\\runs\\1", "bücher/猫", "--data=a,b", "x@2"];
  for (const word of plain) assertEquals(shellWord(word), word);
  assertEquals(shellWord("my results/000"), '"my results/000"');
  assertEquals(shellWord("it's (1)"), `"it's (1)"`);
  assertEquals(shellWord(""), '""');
  assertEquals(shellWord("it's $5"), `'it'\\''s $5'`);
  assertEquals(shellWord('the "best"'), `'the "best"'`);
});
