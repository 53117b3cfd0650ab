import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { nearestPage, suspects } from "./nearest_page.ts";
import { bars } from "./pictures_test_util.ts";

/** A picture that stands out by its nearest one as much as is said. */
const neighbours = (nearest: number) => ({
  indices: [3, 1, 2],
  distances: [nearest, 0.5, 0.5],
});

Deno.test("the page shows the most suspicious first, and names are text", async () => {
  const samples = bars(3, [4, 4, 1], 2);
  const reference = {
    ...bars(4, [4, 4, 1], 2, 2),
    name: 'a "folder" & more',
    classNames: ["<script>", "b"],
  };
  const all = [neighbours(0.4), neighbours(0.1), neighbours(0.3)];
  assertEquals(suspects(all), [1, 2, 0]);
  const html = await nearestPage({
    title: "<b>.npz",
    samples,
    neighbours: all,
    reference,
    memorisation: {
      distance: 0.3,
      heldOutDistance: 0.4,
      ratio: 0.75,
      suspicious: 0.02,
      verdict: "close",
    },
  });
  const order = Array.from(html.matchAll(/<h2>(\d)\. Sample (\d)/g), ([, rank, n]) => [rank, n]);
  assertEquals(order, [["1", "1"], ["2", "2"], ["3", "0"]]);
  assertStringIncludes(html, "class &lt;script&gt;");
  assertStringIncludes(html, "a &quot;folder&quot; &amp; more");
  assert(!/<script|<b>/.test(html), "names are markup");
  assertEquals(html.match(/<img /g)?.length, 3 * 4);
  assertStringIncludes(html, "Closer to training pictures than real ones are");
  assertStringIncludes(html, "color-scheme: light dark");
  assert(
    Array.from(html.matchAll(/<img [^>]*>/g), ([tag]) => tag).every((t) => / alt="[^"]+/.test(t)),
  );
});
