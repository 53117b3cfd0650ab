import { assertEquals } from "@std/assert";
import { ClassSearch } from "./class_search.ts";

const NAMES = [
  "tench, Tinca tinca",
  "goldfish, Carassius auratus",
  "great white shark, white shark",
  "tiger shark, Galeocerdo cuvieri",
  "macaw",
  "Ibizan hound",
  "café au lait",
  "wire-haired fox terrier",
  "12",
];
const search = new ClassSearch(NAMES);

Deno.test("the likeliest class is first: its number, its name, the beginning of one", () => {
  assertEquals(search.find("tench"), [0]);
  assertEquals(search.find("white shark"), [2]);
  assertEquals(search.find("shark"), [2, 3]);
  assertEquals(search.find("t"), [0, 3, 7, 1, 2, 6]);
  assertEquals(search.find("4"), [4]);
  assertEquals(search.find("12"), [8]);
  assertEquals(search.find("cuvieri tiger"), [3]);
  assertEquals(search.find("haired"), [7]);
});

Deno.test("case, accents and underscores do not matter, and nothing is found of nothing", () => {
  assertEquals(search.find("CAFE"), [6]);
  assertEquals(search.find("great_white"), [2]);
  assertEquals(new ClassSearch(["great_white"]).find("great white"), [0]);
  assertEquals(search.find("   "), NAMES.map((_, i) => i));
  assertEquals(search.find("", 3), [0, 1, 2]);
  assertEquals(search.find("zebra"), []);
  assertEquals(search.nameOf(4), "macaw");
  assertEquals(search.nameOf(40), "40");
});
