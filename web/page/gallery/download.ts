/** Files that the page hands to the visitor. */
import { h } from "../base/dom.ts";

/** How long a file's address stays, in milliseconds: browsers read it after the click. */
const STAYS = 60_000;

/** Downloads a file. */
export function download(file: Blob, name: string): void {
  const address = URL.createObjectURL(file);
  h("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), STAYS);
}
