import { openFile } from "../file.ts";

/** Whether a file is a PyTorch checkpoint by its first bytes, or else by its name. */
export async function isTorch(path: string): Promise<boolean> {
  const file = await openFile(path);
  try {
    const start = new Uint8Array(Math.min(9, file.size));
    await file.readInto(0, start);
    // The length before a safetensors header may begin as pickles do, but then comes a brace.
    if (start[8] === 0x7b) return false;
    const isZip = start[0] === 0x50 && start[1] === 0x4b;
    return isZip || start[0] === 0x80 || /\.(pt|pth|bin|ckpt)$/.test(path);
  } finally {
    file.close();
  }
}
