import { assertEquals } from "@std/assert";
import { diskTest } from "../../../tests/fixtures.ts";
import { isPlace, lastMetrics, NO_METRICS, readMetrics } from "./metrics_part.ts";

const line = (step: number, loss = step / 10) =>
  `{"step":${step},"loss":${loss},"seconds":${step}}\n`;

const of = (step: number) => ({ step, loss: step / 10, seconds: step });

diskTest("metrics are read part by part, as far as lines are whole", async (folder) => {
  const path = `${folder}/metrics.jsonl`;
  assertEquals(await readMetrics(path, ""), NO_METRICS);
  await Deno.writeTextFile(path, line(10) + line(20) + '{"step":30,"lo');
  const first = await readMetrics(path, "");
  assertEquals(first.lines, [of(10), of(20)]);
  assertEquals([first.isFromStart, first.hasMore], [true, false]);
  const again = await readMetrics(path, first.next);
  assertEquals([again.lines, again.next, again.isFromStart], [[], first.next, false]);
  await Deno.writeTextFile(path, 'ss":3,"seconds":30}\n', { append: true });
  const more = await readMetrics(path, first.next);
  assertEquals([more.lines, more.isFromStart], [[of(30)], false]);
  assertEquals(await lastMetrics(path), [of(20), of(30)]);
});

diskTest("metrics of a run that went back are read from the beginning", async (folder) => {
  const path = `${folder}/metrics.jsonl`;
  await Deno.writeTextFile(path, line(10) + line(20) + line(30));
  const { next } = await readMetrics(path, "");
  for (const anew of [line(10) + line(20, 7) + line(30) + line(40), line(10), ""]) {
    await Deno.writeTextFile(path, anew);
    const part = await readMetrics(path, next);
    assertEquals([part.isFromStart, part.lines.length], [true, anew.split("\n").length - 1]);
  }
  await Deno.remove(path);
  assertEquals(await readMetrics(path, next), NO_METRICS);
  await Deno.mkdir(path);
  assertEquals(await readMetrics(path, next), NO_METRICS);
  assertEquals(await lastMetrics(path), []);
});

diskTest(
  "a file of any size is read in parts, and lines that are none are passed over",
  async (folder) => {
    const path = `${folder}/metrics.jsonl`;
    const others = [
      "no JSON",
      "[1]",
      "null",
      '{"loss":1}',
      '{"step":"3"}',
      '{"step":1e999}',
      '{"step":5,"loss":null,"name":"x","__proto__":1,"<b>":2,"ok":3}',
      "x".repeat(600_000), // more than a part
    ];
    const count = 20_000;
    const lines = Array.from({ length: count }, (_, i) => line(i + 6));
    await Deno.writeTextFile(path, others.join("\n") + "\n" + lines.join(""));
    const steps: number[] = [];
    for (let after = "";;) {
      const part = await readMetrics(path, after);
      assertEquals([part.isFromStart, isPlace(part.next)], [after === "", true]);
      steps.push(...part.lines.map(({ step }) => step));
      after = part.next;
      if (!part.hasMore) break;
    }
    assertEquals(steps, Array.from({ length: count + 1 }, (_, i) => i + 5));
    await Deno.writeTextFile(path, others[6] + "\n");
    assertEquals((await readMetrics(path, "")).lines, [{ step: 5, ok: 3 }]);
  },
);

Deno.test("places are told from whatever else is asked for", () => {
  for (
    const text of ["", "0", "-1", "0-", "x-0", "0-0-0", "../x", "1e3-zz", `${"f".repeat(13)}-0`]
  ) {
    assertEquals(isPlace(text), false, text);
  }
});

diskTest("evaluations are lines as well, without the time that they took", async (folder) => {
  const path = `${folder}/metrics.jsonl`;
  const evaluation = { kind: "evaluation", step: 20, features: "classifier", kid: 0.5, seconds: 9 };
  await Deno.writeTextFile(path, line(10) + line(20) + JSON.stringify(evaluation) + "\n");
  const { lines } = await readMetrics(path, "");
  assertEquals(lines, [of(10), of(20), { step: 20, kid: 0.5 }]);
  assertEquals(await lastMetrics(path), [of(10), of(20)]);
});
