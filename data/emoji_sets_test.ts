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

/** Chosen by the sets alone: Unicode has none of their names. */
function choose(sets: readonly IconSet[]): EmojiDrawing[] {
  return chooseEmoji(sets, []);
}

function namesIn(drawings: readonly EmojiDrawing[], className: string): string[] {
  return drawings.filter((drawing) => drawing.className === className).map(({ name }) => name)
    .filter((name) => !/-\d+$/.test(name));
}

Deno.test("emoji are in classes of what they show and a style; parts and small classes are left out", () => {
  const foods = many("food");
  const drawings = choose([
    setOf("one", { "Food & Drink": foods, "Component": many("hair"), "Flags": ["a-flag"] }),
    setOf("two", { "Food": foods.slice(0, 15), "Modifiers": many("tone"), "Nature": many("ant") }),
  ]);
  const classes = new Set(drawings.map(({ className }) => className));
  assertEquals([...classes], ["dishes-drinks-one", "mammals-two"]);
  assertEquals(drawings.length, 40);
  const order = drawings.map(({ className, name }) => `${className}/${name}`);
  assertEquals(order, order.toSorted());
});

Deno.test("what an emoji shows is what Unicode says of its name, or else the set", () => {
  const set = setOf("one", {
    "People & Body": [...many("person"), "cote-divoire", "nurse-dark-skin-tone"],
    "Symbols": [...many("sign"), "black-and-white-cat"],
  });
  const list = [
    { name: "Côte d’Ivoire", subgroup: "person-role" },
    { name: "nurse", subgroup: "hand-prop" },
    { name: "black & white: cat!", subgroup: "person" },
    ...many("sign").map((name) => ({ name: name.replace("-", " "), subgroup: "hand-prop" })),
    { name: "person 1", subgroup: "of a later Unicode" },
  ];
  const drawings = chooseEmoji([set], list);
  assertEquals(namesIn(drawings, "people-one"), ["black-and-white-cat", "cote-divoire"]);
  assertEquals(namesIn(drawings, "hands-one"), ["nurse-dark-skin-tone"]);
  assertEquals(drawings.filter(({ className }) => className === "people-one").length, 22);
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
  const drawings = choose([long, short]);
  for (const style of ["long", "short"]) {
    const names = namesIn(drawings, `people-${style}`);
    const couples = names.filter((name) => name.startsWith("couple"));
    assertEquals(couples.length, style === "short" ? 1 : 0);
    assertEquals(names.length - couples.length, 40);
    const toned = names.filter((name) => /dark|light|medium/.test(name));
    const found = new Set(toned.map((name) => name.replace(/^(couple|person-x+)-/, "")));
    assertEquals(tones.filter((tone) => [...found].some((name) => name.startsWith(tone))), tones);
  }
  const lights = namesIn(drawings, "places-long");
  assertEquals(lights, ["traffic", "traffic-light"]); // no person
});

Deno.test("hidden icons are no pictures, and those that are others mirrored are", () => {
  const set = setOf("one", { "Objects": [...many("thing"), "left", "gone"] });
  const { icons } = set;
  const drawings = choose([{
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
