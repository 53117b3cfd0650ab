/**
 * Shows a page in a browser without a window and keeps a picture of it:
 *
 *     deno run --allow-run=chromium,google-chrome tests/screenshot.ts PAGE.html OUT.png WIDTH HEIGHT
 *
 * Ends with 3 where there is no browser.
 */
const [page, out, width, height] = Deno.args;

for (const browser of ["chromium", "google-chrome"]) {
  const { state } = await Deno.permissions.query({ name: "run", command: browser });
  if (state !== "granted") continue; // a program that is not there cannot be granted
  const { success, stderr } = await new Deno.Command(browser, {
    args: [
      ...["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"],
      `--window-size=${width},${height}`,
      `--screenshot=${out}`,
      page!,
    ],
    stdout: "null",
    stderr: "piped",
  }).output();
  if (!success) console.error(new TextDecoder().decode(stderr));
  Deno.exit(success ? 0 : 1);
}
Deno.exit(3);
