/**
 * Shows a page in a browser without a window and keeps a picture of it:
 *
 *     deno run --allow-run=chromium,google-chrome tests/screenshot.ts PAGE OUT.png WIDTH HEIGHT
 *
 * Ends with 3 where there is no browser; without arguments it only checks that.
 */
const BROWSERS = ["chromium", "google-chrome"];

const found = BROWSERS.find((command) => {
  // a program that is not there cannot be granted
  return Deno.permissions.querySync({ name: "run", command }).state === "granted";
});
if (found === undefined) Deno.exit(3);
if (Deno.args.length === 0) Deno.exit(0);

const [page, out, width, height] = Deno.args as [string, string, string, string];
const { success, stderr } = await new Deno.Command(found, {
  args: [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",
    `--window-size=${width},${height}`,
    `--screenshot=${out}`,
    page,
  ],
}).output();
if (!success) console.error(new TextDecoder().decode(stderr));
Deno.exit(success ? 0 : 1);
