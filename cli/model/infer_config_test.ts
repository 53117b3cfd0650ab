import { assertEquals, assertThrows } from "@std/assert";
import { mapSource } from "@dit/core/io";
import { SMALL, smallWeights } from "../../tests/commands.ts";
import { UsageError } from "../shared/errors.ts";
import { inferConfig } from "./infer_config.ts";
import type { ModelOverrides } from "./overrides.ts";

const weights = await smallWeights(SMALL);

function processOf(file: string, overrides: ModelOverrides = {}) {
  const { config, assumptions } = inferConfig(mapSource(weights, file), {}, overrides);
  const { process, objective } = config.diffusion;
  return { process, objective, assumptions: assumptions.filter((text) => !/heads/.test(text)) };
}

Deno.test("weights that say nothing are a flow's by a flag, or by the name of SiT's file", () => {
  const flow = { process: "flow", objective: "v", assumptions: [] };
  assertEquals(processOf("x.pt", { process: "flow" }), flow as never);
  assertEquals(processOf("x.pt", { process: "flow", objective: "xstart" }).objective, "xstart");
  const byName = processOf("models/SiT-XL-2-256x256.pt");
  assertEquals([byName.process, byName.objective], ["flow", "v"]);
  assertEquals(byName.assumptions, [
    "that it is a flow, by the file's name; --process says otherwise",
  ]);
  const gaussian = processOf("SiT-XL-2-256x256.pt", { process: "gaussian" });
  assertEquals([gaussian.process, gaussian.objective], ["gaussian", "epsilon"]);
  const { process, objective, assumptions } = processOf("SiT-runs/x.pt");
  assertEquals([process, objective], [undefined, "epsilon"]);
  assertEquals(assumptions.length, 1);
});

Deno.test("a flag that contradicts what a file says of its process is refused", () => {
  const infer = () =>
    inferConfig(mapSource(weights, "x.pt"), { diffusion: { process: "flow", objective: "v" } }, {
      process: "gaussian",
    });
  assertThrows(infer, UsageError, "--process: expected flow, which x.pt says itself");
  const without = "x.pt is of process flow, which has no such setting; leave it out";
  const flow = { process: "flow" } as const;
  const cases: [ModelOverrides, string][] = [
    [{ ...flow, noiseSchedule: "linear" }, `--noise-schedule: ${without}`],
    [{ ...flow, diffusionSteps: 50 }, `--diffusion-steps: ${without}`],
  ];
  for (const [overrides, message] of cases) {
    assertThrows(() => processOf("x.pt", overrides), UsageError, message);
  }
});
