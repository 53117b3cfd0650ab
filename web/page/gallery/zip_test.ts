import { assertEquals } from "@std/assert";
import { zipOf } from "./zip.ts";

Deno.test("an archive holds files as they are, and lists them at its end", async () => {
  const texts = { "one.png": "first", "two.png": "the second" };
  const archive = await zipOf(
    Object.entries(texts).map(([name, text]) => ({ name, file: new Blob([text]) })),
  );
  const bytes = new Uint8Array(await archive.arrayBuffer());
  const view = new DataView(bytes.buffer);
  const end = bytes.length - 22; // the record at the end, without a comment
  assertEquals(view.getUint32(end, true), 0x06054b50);
  const found: Record<string, string> = {};
  let at = view.getUint32(end + 16, true); // where the directory begins
  for (let i = 0; i < view.getUint16(end + 10, true); i++) {
    assertEquals(view.getUint32(at, true), 0x02014b50);
    const [size, nameLength] = [view.getUint32(at + 24, true), view.getUint16(at + 28, true)];
    const local = view.getUint32(at + 42, true);
    const data = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
    const text = (from: number, length: number) =>
      new TextDecoder().decode(bytes.subarray(from, from + length));
    found[text(at + 46, nameLength)] = text(data, size);
    at += 46 + nameLength + view.getUint16(at + 30, true) + view.getUint16(at + 32, true);
  }
  assertEquals(found, texts);
  assertEquals(archive.type, "application/zip");
});
