import { assertRejects } from "@std/assert";
import { FormatError } from "./errors.ts";
import { NpyFile } from "./numpy/npy.ts";
import { NpzFile } from "./numpy/npz.ts";
import { SafetensorsFile } from "./safetensors/reader.ts";
import { bytesSource, type RandomAccess } from "./source.ts";
import { TorchFile } from "./torch/file.ts";

const READERS: Record<string, (source: RandomAccess) => Promise<unknown>> = {
  "x.pt": TorchFile.from,
  "x.safetensors": SafetensorsFile.from,
  "x.npy": NpyFile.from,
  "x.npz": NpzFile.from,
};

const POINTER = `version https://git-lfs.github.com/spec/v1
oid sha256:${"a".repeat(64)}
size 2700000
`;

const CASES: [string, Uint8Array, string][] = [
  [
    "a pointer of Git LFS",
    new TextEncoder().encode(POINTER),
    "a pointer of Git LFS to a file of 2700000 bytes; bring the file itself with: git lfs pull",
  ],
  ["a web page", new TextEncoder().encode("\n<!DOCTYPE html><html></html>"), "a web page"],
  ["an XML error", new TextEncoder().encode('<?xml version="1.0"?><Error/>'), "a web page"],
  [
    "a gzip file",
    Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0),
    "a file compressed by gzip",
  ],
  ["nothing", new Uint8Array(0), "an empty file"],
];

Deno.test("files of other programs are named by how they begin, never by a length", async () => {
  const cases: [Uint8Array, string][] = [
    [new TextEncoder().encode("Entry not found"), '"Entry not found"'],
    [Uint8Array.of(0x89, 0x48, 0x44, 0x46, 0x0d, 0x0a, 0x1a, 0x0a, 0, 1), '"\\x89HDF'],
    [Uint8Array.of(0x47, 0x47, 0x55, 0x46, 3, 0, 0, 0, 0, 0), '"GGUF\\x03'],
  ];
  for (const [bytes, start] of cases) {
    for (const name of ["x.pt", "x.safetensors"] as const) {
      const message = `found a file that begins with ${start}`;
      await assertRejects(() => READERS[name]!(bytesSource(bytes, name)), FormatError, message);
    }
  }
});

for (const [what, bytes, message] of CASES) {
  Deno.test(`every reader says that a file is ${what}`, async () => {
    for (const [name, read] of Object.entries(READERS)) {
      await assertRejects(() => read(bytesSource(bytes, name)), FormatError, `found ${message}`);
    }
  });
}
