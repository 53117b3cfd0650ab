import { assertEquals, assertThrows } from "@std/assert";
import { textsOf, withTexts } from "./metadata.ts";

/** One grey pixel. */
const PNG = Uint8Array.from(
  atob(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg==",
  ),
  (letter) => letter.charCodeAt(0),
);

Deno.test("texts that are put into a PNG file are read out again, in any script", () => {
  const texts = { "DiT studio": '{"label":3}', Title: "Fuß, 猫 · 42" };
  const file = withTexts(PNG, texts);
  assertEquals(Object.fromEntries(textsOf(file)), texts);
  assertEquals([...file.subarray(0, 33)], [...PNG.subarray(0, 33)]); // signature and header first
  assertEquals([...file.subarray(-(PNG.length - 33))], [...PNG.subarray(33)]);
  assertEquals(textsOf(withTexts(file, { More: "x" })).size, 3);
  const within = new Uint8Array(file.length + 7); // a view into a larger buffer
  within.set(file, 7);
  assertEquals(textsOf(within.subarray(7)).get("Title"), texts.Title);
});

Deno.test("textsOf() reads tEXt chunks too, and leaves compressed texts alone", () => {
  const international = withTexts(PNG, { Key: "abcdefgh" });
  // the same bytes as another kind of chunk: its checksum is then another one
  const start = 33;
  const renamed = international.slice();
  renamed.set(new TextEncoder().encode("tEXt"), start + 4);
  assertThrows(() => textsOf(renamed), Error, "checksum");
  assertEquals(textsOf(PNG).size, 0);
});

Deno.test("files that are none or are cut off are refused, wherever that is", () => {
  assertThrows(() => textsOf(new Uint8Array(0)), Error, "not a PNG file");
  assertThrows(() => textsOf(new TextEncoder().encode("GIF89a...")), Error, "not a PNG file");
  assertThrows(() => withTexts(PNG.subarray(0, 8), {}), Error, "ends too soon");
  const file = withTexts(PNG, { Title: "three" });
  for (let length = 0; length < file.length; length++) {
    assertThrows(() => textsOf(file.subarray(0, length)), Error, "PNG file");
  }
  const huge = PNG.slice();
  huge.set([255, 255, 255, 255], 33); // the length of a chunk
  assertThrows(() => textsOf(huge), Error, "ends too soon");
});
