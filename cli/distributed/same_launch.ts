/** Ranks that would not compute the same thing: other sources, another Deno, other flags. */
import { agree } from "./agree.ts";
import type { World } from "./world.ts";

/** The folders of the sources. */
const FOLDERS = "tensor autograd nn dit diffusion vae io data cli".split(" ");

/**
 * Makes sure that all ranks run the same sources on the same Deno with the same command line.
 *
 * @throws {CommandError} where they do not, with the ranks that differ.
 */
export async function requireSameLaunch(world: World): Promise<void> {
  await agree(world, "Deno's version", Deno.version.deno, "install the same one on all machines");
  await agree(
    world,
    "the sources (their SHA-256)",
    await sourcesDigest(new URL("../../", import.meta.url)),
    "bring all machines to the same version",
  );
  await agree(world, "the command line", Deno.args, "give all ranks the same flags");
}

/** SHA-256 of the sources below a folder: of their paths and texts, without tests. */
export async function sourcesDigest(root: URL): Promise<string> {
  if (root.protocol !== "file:") return root.href; // a published version, which its address names
  const paths: string[] = [];
  const collect = (folder: string): void => {
    for (const { name, isDirectory } of Deno.readDirSync(new URL(folder, root))) {
      if (isDirectory) collect(`${folder}${name}/`);
      else if (/(?<!_test|_test_util)\.ts$/.test(name)) paths.push(folder + name);
    }
  };
  for (const folder of FOLDERS) collect(`${folder}/`);
  const digests: Uint8Array<ArrayBuffer>[] = [];
  for (const path of paths.sort()) {
    digests.push(
      new TextEncoder().encode(path),
      await sha256(Deno.readFileSync(new URL(path, root))),
    );
  }
  const whole = await sha256(new Uint8Array(await new Blob(digests).arrayBuffer()));
  return whole.toHex().slice(0, 16);
}

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
}
