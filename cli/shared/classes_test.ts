import type { ModelConfig } from "@dit/core/pipeline";
import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { diskTest } from "../../tests/fixtures.ts";
import { classesText, requireSameClasses, writeClasses } from "./classes.ts";
import { CommandError } from "./errors.ts";

/** The part of a configuration that classes are about. */
function config(classNames: string[], nullClass: number | null = classNames.length): ModelConfig {
  return {
    dit: { numClasses: classNames.length },
    classNames,
    nullClass,
  } as unknown as ModelConfig;
}

Deno.test("few classes are named with their numbers, many are not, digits need no names", () => {
  assertEquals(classesText(config(["cat", "dog"])), "0 cat, 1 dog");
  assertEquals(classesText(config(["a, b", "c d", "猫"])), '0 "a, b", 1 "c d", 2 猫');
  assertEquals(classesText(config(["0", "1", "2"])), undefined);
  const many = Array.from({ length: 1000 }, (_, i) => `n${i}`);
  const text = classesText(config(many))!;
  assertStringIncludes(text, "8 n8, ... 999 n999: all are in classes.json");
});

Deno.test("one class is said to be unconditional, and unguided where it is", () => {
  assertEquals(
    classesText(config(["photos"], null)),
    "one only (photos): nothing to condition on, so the model is unconditional, and its samples " +
      "are not guided",
  );
  assertEquals(classesText(config(["photos"], 1))!.includes("guided"), false);
});

diskTest("classes.json has each class under its number", async (folder) => {
  await writeClasses(folder, ["cat", "dog"]);
  const text = await Deno.readTextFile(`${folder}/classes.json`);
  assertEquals(text, '{\n  "0": "cat",\n  "1": "dog"\n}\n');
});

Deno.test("data with other classes than the run's are refused, with the first that differs", () => {
  const before = config(["cat", "dog"]);
  requireSameClasses("photos", ["cat", "dog"], before);
  requireSameClasses("photos", ["any"], config([])); // from before names were kept
  const refuse = (names: string[], message: string) =>
    assertThrows(() => requireSameClasses("photos", names, before), CommandError, message);
  refuse(
    ["bird", "cat", "dog"],
    "photos: expected the classes that the run began with but number 0",
  );
  refuse(["cat", "dog", "emu"], 'number 2 was no class and has become "emu"');
  refuse(["cat"], 'number 1 was "dog" and has become no class');
});
