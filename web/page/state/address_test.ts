import { assertEquals } from "@std/assert";
import { MODEL } from "../../model_info_test_util.ts";
import { addressOf, readAddress } from "./address.ts";
import { fitted, MODES, usualParameters } from "./parameters.ts";

Deno.test("an address gives the parameters back that it was made of, in every mode", () => {
  for (const mode of MODES) {
    const parameters = fitted({
      ...usualParameters(MODEL),
      mode,
      labels: mode === "pictures" ? [3, 1, 4] : [5],
      otherLabel: 9,
      seed: 4_294_967_295,
      otherSeed: 12,
      count: 7,
      around: 24,
      strength: 0.45,
      frames: 11,
      sampler: "ddim",
      steps: 33,
      eta: 0.25,
      guidance: 2.5,
      interval: [100, 700],
    }, MODEL);
    const { view, raw } = readAddress(addressOf("draw", parameters));
    assertEquals(view, "draw");
    const back = fitted(raw, MODEL, parameters); // what is not of the mode stays
    assertEquals(back, parameters);
  }
});

Deno.test("an address without an interval means all times, one without parameters nothing", () => {
  const parameters = { ...usualParameters(MODEL), interval: null };
  const { raw } = readAddress(addressOf("draw", parameters));
  assertEquals(raw["interval"], null);
  assertEquals(readAddress("#/draw").raw, {});
  assertEquals(readAddress("").view, "draw");
  assertEquals(readAddress("#/runs").view, "runs");
  assertEquals(readAddress("#/../etc/passwd").view, "draw");
  assertEquals(addressOf("gallery", parameters), "#/gallery");
});

Deno.test("what an address says is text and numbers, whatever is in it", () => {
  const { raw } = readAddress(
    "#/draw?seed=x&labels=1,&otherSeed=,&frames=%20&steps=1e999&model=%3Cb%3E&guidance=2&__proto__=1",
  );
  assertEquals(raw, { model: "<b>", guidance: 2, interval: null, mode: "pictures" });
});
