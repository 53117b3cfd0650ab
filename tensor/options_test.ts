import { assertThrows } from "@std/assert";
import { checkOptionNames } from "./options.ts";

Deno.test("checkOptionNames() names an option that there is not, and the right spelling", () => {
  const known = { hiddenSize: true, depth: true };
  checkOptionNames("DiT", {}, known);
  checkOptionNames("DiT", { depth: undefined }, known);
  const cases = [
    [{ hidden_size: 8 }, "DiT: unknown option hidden_size; did you mean hiddenSize?"],
    [{ depth: 1, actFn: "silu" }, "DiT: unknown option actFn; expected hiddenSize, depth"],
    [{ toString: 1 }, "DiT: unknown option toString"],
  ] as const;
  for (const [options, message] of cases) {
    assertThrows(() => checkOptionNames("DiT", options as object, known), TypeError, message);
  }
});
