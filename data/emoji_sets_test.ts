import { assertEquals } from "@std/assert";
import {
  chooseEmoji,
  EMOJI_STYLES,
  type EmojiDrawing,
  emojiSvg,
  type IconSet,
} from "./emoji_sets.ts";

/** Enough icons of a category to be a class. */
function many(prefix: string): string[] {
  return Array.from({ length: 20 }, (_, i) => `${prefix}-${i}`);
}

function setOf(
  style: string,
  categories: Record<string, string[]>,
  more: Partial<IconSet> = {},
): IconSet {
  const names = Object.values(categories).flat();
  const icons = Object.fromEntries(names.map((name) => [name, { body: `<!--${name}-->` }]));
  return { style, icons, categories, width: 32, height: 32, ...more };
}

function namesIn(drawings: readonly EmojiDrawing[], className: string): string[] {
  return drawings.filter((drawing) => drawing.className === className).map(({ name }) => name)
    .filter((name) => !/-\d+$/.test(name));
}

Deno.test("emoji are in classes of a category and a style; parts and small classes are left out", () => {
  const foods = many("food");
  const drawings = chooseEmoji([
    setOf("one", { "Food & Drink": foods, "Component": many("hair"), "Flags": ["a-flag"] }),
    setOf("two", { "Food": foods.slice(0, 19), "Modifiers": many("tone"), "Nature": many("ant") }),
  ]);
  const classes = new Set(drawings.map(({ className }) => className));
  assertEquals([...classes], ["animals-nature-two", "food-drink-one"]);
  assertEquals(drawings.length, 40);
  const order = drawings.map(({ className, name }) => `${className}/${name}`);
  assertEquals(order, order.toSorted());
});

Deno.test("an emoji is of the category that earlier sets have it in, by any of its names", () => {
  const first = setOf("one", {
    "Smileys & Emotion": [...many("face"), "alien"],
    "Travel & Places": many("car"),
  }, { aliases: { "visitor": { parent: "alien" } } });
  const second = setOf("two", { "People": [...many("face"), "visitor"], "Flags": many("car") });
  const drawings = chooseEmoji([first, second]);
  assertEquals(namesIn(drawings, "smileys-emotion-two"), ["visitor"]);
  assertEquals(drawings.filter(({ className }) => className === "flags-two").length, 20);
});

Deno.test("people come without a tone of skin and in one of five", () => {
  const tones = ["light", "medium-light", "medium", "medium-dark", "dark"];
  const people = many("person").map((name) => name.replace(/\d+/, (n) => "x".repeat(+n + 1)));
  const long = setOf("long", {
    "People & Body": people.flatMap((name) => [
      name,
      ...tones.map((tone) => `${name}-${tone}-skin-tone`),
    ]),
    "Travel & Places": [...many("car"), "traffic-light", "traffic"],
  });
  const short = setOf("short", {
    "People & Body": [
      ...people.flatMap((name) => [name, ...tones.map((tone) => `${name}-${tone}`)]),
      "couple-dark-skin-tone-light-skin-tone",
      "couple-light-skin-tone-dark-skin-tone",
    ],
  });
  const drawings = chooseEmoji([long, short]);
  for (const style of ["long", "short"]) {
    const names = namesIn(drawings, `people-body-${style}`);
    const couples = names.filter((name) => name.startsWith("couple"));
    assertEquals(couples.length, style === "short" ? 1 : 0);
    assertEquals(names.length - couples.length, 40);
    const toned = names.filter((name) => /dark|light|medium/.test(name));
    const found = new Set(toned.map((name) => name.replace(/^(couple|person-x+)-/, "")));
    assertEquals(tones.filter((tone) => [...found].some((name) => name.startsWith(tone))), tones);
  }
  const lights = namesIn(drawings, "travel-places-long");
  assertEquals(lights, ["traffic", "traffic-light"]); // no person
});

Deno.test("hidden icons are no pictures, and those that are others mirrored are", () => {
  const set = setOf("one", { "Objects": [...many("thing"), "left", "gone"] });
  const { icons } = set;
  const drawings = chooseEmoji([{
    ...set,
    icons: { ...icons, "gone": { body: "", hidden: true }, "left": { body: "<path/>", left: 4 } },
    aliases: {
      "right": { parent: "left", hFlip: true },
      "port": { parent: "left" },
      "lost": { parent: "gone", hFlip: true },
    },
  }]);
  assertEquals(namesIn(drawings, "objects-one"), ["left", "right"]);
  const right = drawings.find(({ name }) => name === "right")!;
  assertEquals(right.body, '<g transform="translate(40 0) scale(-1 1)"><path/></g>');
});

Deno.test("a picture is in the middle of its square, with a margin", () => {
  const box = { left: 1, top: 0, width: 30, height: 60 };
  const svg = emojiSvg({ name: "tall", className: "objects-one", body: "<path/>", box }, 48);
  const side = 64;
  assertEquals(
    svg,
    '<svg xmlns="http://www.w3.org/2000/svg" width="48" height="48" ' +
      `viewBox="${1 + 15 - side / 2} ${30 - side / 2} ${side} ${side}"><path/></svg>`,
  );
  assertEquals(new Set(EMOJI_STYLES.map(({ style }) => style)).size, 4);
});
