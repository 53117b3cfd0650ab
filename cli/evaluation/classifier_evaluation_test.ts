import { assert, assertEquals, assertRejects } from "@std/assert";
import { init } from "@dit/core/tensor";
import { diskTest } from "../../tests/fixtures.ts";
import { CommandError } from "../shared/errors.ts";
import { ClassifierEvaluation } from "./classifier_evaluation.ts";
import { bars } from "./pictures_test_util.ts";
import type { Reference } from "./read_pictures.ts";

const SIZE = [8, 8, 1] as const;

/** Few pictures of two classes. */
function few(count: number): Reference {
  const about = { name: "few", classNames: ["a", "b"], flippable: false, fullSize: SIZE };
  return { ...bars(count, SIZE, 2), ...about, total: count };
}

diskTest("a reference of few pictures is compared as far as can be known", async (folder) => {
  await init({ device: "wasm" });
  using evaluation = await ClassifierEvaluation.prepare(few(8), folder);
  const samples = { ...bars(20, SIZE, 2, 2), name: "samples", fullSize: SIZE };
  const { precision, recall, frechetDistance } = await evaluation.evaluate(samples);
  assert([precision, recall, frechetDistance].every(Number.isFinite));
  const heldOut = await evaluation.evaluateHeldOut(); // one of each class
  assertEquals([heldOut.samples, heldOut.precision, heldOut.recall], [2, NaN, NaN]);
  assert(Number.isFinite(heldOut.frechetDistance));
  await assertRejects(
    () => ClassifierEvaluation.prepare(few(4), folder),
    CommandError,
    "few: expected 4 pictures or more to compare with, as precision and recall look at 3",
  );
});
