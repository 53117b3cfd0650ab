import { assertEquals, assertThrows } from "@std/assert";
import { type ClassLabels, resolveClass, resolveClasses } from "./class_names.ts";
import { CommandError, UsageError } from "./errors.ts";

/** Classes of one name each. */
const single = (...names: string[]): ClassLabels => names.map((name) => [name]);

const IMAGENET: ClassLabels = [
  ["tench", "Tinca tinca"],
  ["crane"],
  ["goldfish", "Carassius auratus"],
  ["crane"],
  ["maillot"],
  ["maillot", "tank suit"],
];

Deno.test("a name as it is written comes before one of another case", () => {
  const labels = single("Cat", "cat", "Dog", "big_bird", "Small Bird", "Café");
  const meant = (word: string) => resolveClass(word, labels.length, labels);
  assertEquals(["Cat", "cat", "dog", "DOG"].map(meant), [0, 1, 2, 2]);
  assertEquals(["big bird", "Big-Bird", "small_bird", "CAFE\u0301"].map(meant), [3, 3, 4, 5]);
  assertThrows(() => meant("CAT"), CommandError, '"CAT" fits several (0, 1); give a number');
});

Deno.test("a name comes before a number, and every class has its number", () => {
  const digits = single("1", "0", "10");
  assertEquals(["1", "0", "10", "2"].map((w) => resolveClass(w, 3, digits)), [0, 1, 2, 2]);
  assertEquals(resolveClass("7", 10, []), 7);
  for (const word of ["3", "-1", "1.5", "1e1", "", "frog"]) {
    assertThrows(() => resolveClass(word, 3, digits), UsageError, "a number from 0 to 2");
  }
});

Deno.test("names that mean the same class, and all of them joined, are taken", () => {
  const meant = (word: string) => resolveClass(word, IMAGENET.length, IMAGENET);
  for (const word of ["tench", "Tinca tinca", "tinca_tinca", "tench, Tinca tinca"]) {
    assertEquals(meant(word), 0, word);
  }
  assertEquals(meant("maillot, tank suit"), 5);
  assertThrows(() => meant("crane"), CommandError, '--classes: expected one class but "crane"');
  assertThrows(() => meant("crane"), CommandError, "(1, 3)");
  assertThrows(() => meant("maillot"), CommandError, "(4, 5)");
});

Deno.test("a list has names and numbers, and names with commas", () => {
  const all = (list: string) => resolveClasses(list, IMAGENET.length, IMAGENET);
  assertEquals(all("0, goldfish,3"), [0, 2, 3]);
  assertEquals(all("tench, Tinca tinca"), [0]);
  assertEquals(all("1,tench,Tinca tinca,2"), [1, 0, 2]);
  assertEquals(all('"goldfish, Carassius auratus" ,tench'), [2, 0]);
  const odd = single("a, b", "a", "b", 'say "hi"', "c");
  const meant = (list: string) => resolveClasses(list, odd.length, odd);
  assertEquals(meant('"a, b",c'), [0, 4]);
  assertEquals(meant('say "hi",c'), [3, 4]);
  assertEquals(meant('"say ""hi""",c'), [3, 4]);
  assertEquals(meant("a,c,b"), [1, 4, 2]);
  assertThrows(() => meant("c,a,b"), UsageError, 'expected "a, b" in quotes for class 0');
  for (const list of ["", "a,", ",a", "a,,c"]) {
    assertThrows(() => meant(list), UsageError, "but got nothing");
  }
});

Deno.test("the nearest name is suggested", () => {
  assertThrows(
    () => resolveClass("golfish", IMAGENET.length, IMAGENET, "class"),
    UsageError,
    'class: expected a number from 0 to 5 or a name such as tench, crane, goldfish but got "golfish"; did you mean goldfish?',
  );
});
