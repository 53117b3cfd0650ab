import { assertEquals, assertRejects } from "@std/assert";
import { encodePng } from "@dit/data";
import { MODEL } from "../../model_info_test_util.ts";
import { withTexts } from "../png/metadata.ts";
import { usualParameters } from "../state/parameters.ts";
import { fileNameOf, readRecord, type Sheet } from "./sheet.ts";

const PNG = await encodePng(Uint8Array.of(7), 1, 1, 1);
const saying = (text: string) => withTexts(PNG, { "DiT studio": text });

Deno.test("a file gives its parameters back, or says why it cannot", async () => {
  const parameters = { ...usualParameters(MODEL) };
  const record = { version: 1, parameters, picture: 2, device: "wasm" };
  assertEquals(await readRecord(saying(JSON.stringify(record))), {
    version: 1,
    parameters,
    picture: 2,
  });
  assertEquals(
    (await readRecord(saying('{"version":1,"parameters":{},"picture":"x"}'))).picture,
    0,
  );
  await assertRejects(() => readRecord(PNG), Error, "holds no parameters");
  const damaged = ["null", "[]", '{"model":{"toString":1}}'].map((parameters) =>
    `{"version":1,"parameters":${parameters}}`
  );
  for (const text of ["", "{", "null", "7", '{"version":1}', ...damaged]) {
    await assertRejects(() => readRecord(saying(text)), Error, "damaged");
  }
  await assertRejects(
    () => readRecord(saying('{"version":2,"parameters":{}}')),
    Error,
    "newer studio",
  );
});

Deno.test("files are called by what they show, in letters that every system has", () => {
  const sheet = (caption: string): Sheet => ({
    id: "",
    drawn: 0,
    parameters: usualParameters(MODEL),
    model: "",
    captions: [caption],
    seconds: 0,
    device: "",
    files: [],
  });
  assertEquals(fileNameOf(sheet("3 · seed 5"), 0), "3-seed-5-20-steps.png");
  assertEquals(fileNameOf(sheet("Café/../x → y 50%"), 0), "Cafe-x-y-50-20-steps.png");
  assertEquals(fileNameOf(sheet("猫"), 0), "picture-20-steps.png");
  assertEquals(fileNameOf(sheet("x"), 9), "picture-20-steps.png");
});
