import { assertEquals, assertRejects } from "@std/assert";
import { diskTest } from "../tests/fixtures.ts";
import { FormatError } from "./errors.ts";
import { AtomicFile, openFile, writeAtomically } from "./file.ts";
import { BytesSink, bytesSource, readRange } from "./source.ts";

diskTest("writeAtomically() replaces a file whole, in any order of writing", async (folder) => {
  const path = `${folder}/x.bin`;
  await Deno.writeFile(path, Uint8Array.of(9));
  await writeAtomically(path, async (sink) => {
    await sink.writeAt(3, Uint8Array.of(4, 5));
    await sink.writeAt(0, Uint8Array.of(1, 2));
    assertEquals(await Deno.readFile(path), Uint8Array.of(9));
  });
  assertEquals(await Deno.readFile(path), Uint8Array.of(1, 2, 0, 4, 5));
});

diskTest(
  "writeAtomically() leaves the old file and nothing else when writing fails",
  async (folder) => {
    const path = `${folder}/x.bin`;
    await Deno.writeFile(path, Uint8Array.of(9));
    await assertRejects(
      () =>
        writeAtomically(path, async (sink) => {
          await sink.writeAt(0, new Uint8Array(1000));
          throw new Error("device lost");
        }),
      Error,
      "device lost",
    );
    assertEquals(await Deno.readFile(path), Uint8Array.of(9));
    assertEquals([...Deno.readDirSync(folder)].length, 1);
  },
);

diskTest("a disk that is full is said of the file that does not fit", async (folder) => {
  const path = `${folder}/x.bin`;
  for (const method of ["writeSync", "syncSync"] as const) {
    const own = Deno.FsFile.prototype[method];
    Deno.FsFile.prototype[method] = () => {
      throw new Error("No space left on device (os error 28)");
    };
    try {
      await assertRejects(
        () => writeAtomically(path, (sink) => sink.writeAt(0, Uint8Array.of(1))),
        Error,
        `No space left on device (os error 28): ${method.slice(0, -4)} '${path}'`,
      );
    } finally {
      Object.assign(Deno.FsFile.prototype, { [method]: own });
    }
    assertEquals([...Deno.readDirSync(folder)], []);
  }
});

diskTest("AtomicFile refuses writes after commit", async (folder) => {
  await using file = await AtomicFile.create(`${folder}/x.bin`);
  await file.commit();
  await assertRejects(() => file.writeAt(0, Uint8Array.of(1)), Error, "after commit");
});

diskTest("readRange() refuses ranges past the end before it allocates", async (folder) => {
  const path = `${folder}/x.bin`;
  await Deno.writeFile(path, Uint8Array.of(1, 2, 3));
  const file = await openFile(path);
  const memory = bytesSource(Uint8Array.of(1, 2, 3));
  for (const source of [file, memory]) {
    assertEquals(await readRange(source, 1, 2), Uint8Array.of(2, 3));
    await assertRejects(() => readRange(source, 1, 2 ** 50), FormatError, "byte 1");
    await assertRejects(() => source.readInto(2, new Uint8Array(2)), FormatError);
  }
  file.close();
});

diskTest("concurrent reads of one file do not disturb each other", async (folder) => {
  const path = `${folder}/x.bin`;
  const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
  await Deno.writeFile(path, bytes);
  const file = await openFile(path);
  const parts = await Promise.all([7, 100, 3, 255].map((at) => readRange(file, at, 1)));
  assertEquals(parts.map((p) => p[0]), [7, 100, 3, 255]);
  file.close();
});

Deno.test("BytesSink grows and zero-fills gaps", async () => {
  const sink = new BytesSink();
  await sink.writeAt(2000, Uint8Array.of(7));
  await sink.writeAt(0, Uint8Array.of(1));
  assertEquals(sink.bytes().length, 2001);
  assertEquals([sink.bytes()[0], sink.bytes()[1999], sink.bytes()[2000]], [1, 0, 7]);
});
