import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  GaussianDiffusion,
  type NoiseScheduleName,
  type Objective,
  OBJECTIVES,
  type ProcessName,
} from "@dit/core/diffusion";
import { buildProcess, type DiffusionConfig, type ModelConfig } from "@dit/core/pipeline";
import { SMALL } from "../../tests/commands.ts";
import { UsageError } from "../shared/errors.ts";
import { checkProcess, processOfFlags } from "./model_flags.ts";

const configOf = (diffusion: Partial<DiffusionConfig>): ModelConfig => ({
  ...SMALL,
  diffusion: { ...SMALL.diffusion, ...diffusion },
});

Deno.test("a configuration of before there were kinds of process is Gaussian diffusion", () => {
  const { process: _, ...before } = SMALL.diffusion;
  for (const objective of OBJECTIVES) {
    const process = buildProcess({ ...SMALL, diffusion: { ...before, objective } });
    assert(process instanceof GaussianDiffusion);
    assertEquals([process.objective, process.learnsVariance], [objective, SMALL.dit.learnSigma]);
  }
});

Deno.test("processes that there are not are refused by the names of flags", () => {
  const refused = (diffusion: Partial<DiffusionConfig>, message: string) =>
    assertThrows(() => checkProcess(configOf(diffusion)), UsageError, message);
  const noiseSchedule = "squaredcos_cap_v2";
  refused({ diffusionSteps: 10 }, "--diffusion-steps: expected 21 or more");
  refused({ diffusionSteps: 20 }, "--noise-schedule linear but got 20");
  refused({ diffusionSteps: 1, noiseSchedule }, "expected 2 or more");
  refused({ noiseSchedule: "cosine" as NoiseScheduleName }, "--noise-schedule cosine");
  refused({ process: "cold" as ProcessName }, "expected process gaussian, flow but got cold");
  refused({ objective: "x" as Objective }, "expected objective epsilon, xstart, v but got x");
  assertThrows(
    () => processOfFlags(configOf({ diffusionSteps: 10 })),
    UsageError,
    "--diffusion-steps: expected 21 or more",
  );
  checkProcess(configOf({ diffusionSteps: 21 }));
  checkProcess(configOf({ diffusionSteps: 2, noiseSchedule }));
});
