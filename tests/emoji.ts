/** Tests that need the packages with the pictures of emoji. */
import { granted, unreadable } from "./fixtures.ts";

/** A variable, so that nothing is fetched where the tests are only checked. */
const PICTURES = "npm:@lobehub/fluent-emoji-3d@1.1.0";

/** Why there are no emoji here, or undefined where there are. */
export const emojiMissing: string | undefined = unreadable ??
  (granted({ name: "ffi" }) && granted({ name: "env" })
    ? await import(`${PICTURES}/package.json`, { with: { type: "json" } })
      .then(() => undefined, (error) => String(error).split("\n")[0])
    : "needs --allow-ffi --allow-env");

/** Registers a test that gets the path of an empty folder; ignored where there are no emoji. */
export function emojiTest(
  test: (name: string, run: (folder: string) => Promise<void>) => void,
  name: string,
  run: (folder: string) => Promise<void>,
): void {
  if (emojiMissing === undefined) test(name, run);
  else Deno.test({ name: `${name} (${emojiMissing})`, ignore: true, fn() {} });
}
