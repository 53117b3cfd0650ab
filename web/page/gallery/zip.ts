/** Several files as one archive. */
import { BytesSink, ZipWriter } from "@dit/core/io";

/** A zip archive of files with names of their own, stored as they are: PNG files are compressed. */
export async function zipOf(
  entries: readonly { readonly name: string; readonly file: Blob }[],
): Promise<Blob> {
  const sink = new BytesSink();
  const writer = new ZipWriter(sink);
  for (const { name, file } of entries) {
    await writer.add(name, new Uint8Array(await file.arrayBuffer()));
  }
  await writer.finish();
  return new Blob([sink.bytes()], { type: "application/zip" });
}
