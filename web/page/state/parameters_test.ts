import { assertEquals } from "@std/assert";
import { MODEL } from "../../model_info_test_util.ts";
import { MOST_PICTURES } from "../../protocol.ts";
import { MOST_SEED, readSampleRequest } from "../../read_request.ts";
import { AROUND, fitted, LIMITS, MODES, usualParameters } from "./parameters.ts";
import { captionOf, picturesOf, requestOf, titleOf } from "./request.ts";

const usual = usualParameters(MODEL);

Deno.test("parameters of any origin become such as the server takes", () => {
  const anything: unknown[] = [
    ...[undefined, null, -1, 0, 1, 3.7, 1e9, NaN, Infinity, "7", "", {}, [], [1], [
      3,
      1,
      99,
      -2,
      "x",
    ]],
    ...[[500, 20], [0.5, 2000], ["a", "b"], true],
  ];
  const names = Object.keys(usual);
  for (const mode of MODES) {
    for (const name of names) {
      for (const value of anything) {
        const parameters = fitted({ ...usual, mode, [name]: value }, MODEL);
        readSampleRequest(JSON.parse(JSON.stringify(requestOf(parameters))), [MODEL]);
        assertEquals(fitted({ ...parameters }, MODEL), parameters); // nothing is left to fit
      }
    }
  }
  assertEquals(fitted({}, MODEL), usual);
});

Deno.test("another model gets the labels, the sampler and the times that it has", () => {
  const small = {
    ...MODEL,
    id: "small",
    classNames: ["cat", "dog"],
    canGuide: false,
    samplers: [MODEL.samplers[1]!],
    usual: { ...MODEL.usual, sampler: "ddim", steps: 50 },
  };
  const before = { ...usual, labels: [8], otherLabel: 9, guidance: 4, interval: [1, 5] as const };
  const parameters = fitted({ ...before }, small);
  assertEquals(parameters.model, "small");
  assertEquals(parameters.labels, [1].map(() => Math.min(3, 1)));
  assertEquals(parameters.otherLabel, 1);
  assertEquals([parameters.guidance, parameters.interval], [1, null]);
  assertEquals([parameters.sampler, parameters.steps], ["ddim", 50]);
});

Deno.test("limits keep the number of pictures to that of a request", () => {
  const labels = MODEL.classNames.map((_, label) => label);
  const { count } = fitted({ ...usual, labels, count: LIMITS.count[1] }, MODEL);
  assertEquals(count, Math.floor(MOST_PICTURES / labels.length));
  for (const around of AROUND) {
    const { length } = picturesOf(fitted({ ...usual, mode: "variations", around }, MODEL));
    assertEquals(length, around + 1);
  }
});

Deno.test("pictures of a class have seeds that follow each other, round the end", () => {
  const pictures = picturesOf({ ...usual, labels: [2, 5], seed: MOST_SEED, count: 2 });
  assertEquals(pictures, [
    { label: 2, seed: MOST_SEED },
    { label: 2, seed: 0 },
    { label: 5, seed: MOST_SEED },
    { label: 5, seed: 0 },
  ]);
});

Deno.test("variations have the picture itself in the middle, and further rings are further from it", () => {
  const of = (seed: number) =>
    picturesOf({ ...usual, mode: "variations", labels: [4], seed, around: 24, strength: 0.6 });
  const pictures = of(10);
  assertEquals(pictures[12], { label: 4, seed: 10 });
  const amounts = pictures.map(({ towardsSeed }) => towardsSeed?.amount ?? 0);
  assertEquals(amounts.filter((amount) => amount === 0.3).length, 8);
  assertEquals(amounts.filter((amount) => amount === 0.6).length, 16);
  assertEquals([amounts[0], amounts[6], amounts[24]], [0.6, 0.3, 0.6]);
  const seeds = pictures.flatMap(({ towardsSeed }) => towardsSeed ? [towardsSeed.seed] : []);
  assertEquals(new Set(seeds).size, 24);
  assertEquals(of(10), pictures); // the same ones each time
  const others = of(11).flatMap(({ towardsSeed }) => towardsSeed ? [towardsSeed.seed] : []);
  assertEquals(seeds.filter((seed) => others.includes(seed)), []);
});

Deno.test("ways begin at one end and end at the other, with equal distances", () => {
  const way = { ...usual, labels: [3], seed: 1, otherSeed: 2, otherLabel: 8, frames: 5 };
  const seeds = picturesOf({ ...way, mode: "seeds" });
  assertEquals(seeds.map(({ towardsSeed }) => towardsSeed!.amount), [0, 0.25, 0.5, 0.75, 1]);
  assertEquals(seeds.every(({ towardsSeed }) => towardsSeed!.seed === 2), true);
  const classes = picturesOf({ ...way, mode: "classes" });
  assertEquals(classes[2], { label: 3, seed: 1, towardsLabel: { label: 8, amount: 0.5 } });
});

Deno.test("captions say class, seed and where a picture is on the way to", () => {
  const classNames = ["tench, Tinca tinca", "dog"];
  const caption = (more: object) => captionOf({ label: 0, seed: 7, ...more }, { classNames });
  assertEquals(caption({}), "tench · seed 7");
  assertEquals(caption({ towardsSeed: { seed: 9, amount: 0.25 } }), "tench · seed 7 → 9 25%");
  assertEquals(caption({ towardsLabel: { label: 1, amount: 0.5 } }), "tench → dog 50%");
  assertEquals(captionOf({ label: 5, seed: 1 }, { classNames }), "5 · seed 1");
  const ends = [caption({}), caption({ towardsLabel: { label: 1, amount: 1 } })];
  assertEquals(titleOf({ mode: "classes", otherSeed: 0 }, ends), "tench · seed 7 to dog");
  assertEquals(titleOf({ mode: "pictures", otherSeed: 0 }, ends), "tench · seed 7 and 1 more");
});
