import { assertEquals, assertThrows } from "@std/assert";
import { SMALL } from "../tests/commands.ts";
import { ConfigError, DIT, Fields } from "./mod.ts";

/** What is read of a configuration after it was stored. */
function readBack(config: object): unknown {
  return DIT.readConfig(new Fields(JSON.parse(JSON.stringify(config)), "FILE: config."));
}

Deno.test("a damaged configuration is refused with its file and field", () => {
  assertEquals(readBack(SMALL), SMALL);
  const { dit, diffusion } = SMALL;
  const cases: [config: object, message: string][] = [
    [{ dit: { ...dit, mlpRatio: 0 } }, "dit: DiT: expected an mlpRatio above 0 but got 0"],
    [{ dit: { ...dit, patchSize: 3 } }, "dit: DiT: expected an inputSize that is a multiple"],
    [{ dit: { ...dit, earlyHead: 2 } }, "dit: DiT: expected an earlyHead after 1 to 1 of 2"],
    [{ dit: { ...dit, rope: null, later: 1 } }, "dit: DiT: "],
    [
      { nullClass: 7 },
      "nullClass: expected 6 at most, the last of the model's labels, but found 7",
    ],
    [{ nullClass: undefined }, "nullClass: expected a whole number of 0 or more but found nothing"],
    [
      { nullClass: 6, dit: { ...dit, classDropoutProb: 0 } },
      "nullClass: expected 5 at most, the last of the model's labels, but found 6",
    ],
    [
      { diffusion: { ...diffusion, process: null } },
      "diffusion: createProcess: expected process gaussian, flow but got null",
    ],
    [{ diffusion: { ...diffusion, process: "other" } }, "diffusion: createProcess: expected"],
    [{ diffusion: { ...diffusion, noiseSchedule: "other" } }, "diffusion: "],
    [{ diffusion: { ...diffusion, objective: "other" } }, "diffusion: createDiffusion: expected"],
    [{ diffusion: { ...diffusion, process: "flow", timeShift: null } }, "diffusion: "],
    [{ latents: undefined }, "latents: expected an object but found nothing"],
  ];
  for (const [changed, message] of cases) {
    assertThrows(() => readBack({ ...SMALL, ...changed }), ConfigError, `FILE: config.${message}`);
  }
});
