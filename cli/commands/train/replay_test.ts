/**
 * Training steps and samples whose launches are replayed have the bits of those that are made anew.
 */
import type { ModelConfig } from "@dit/core/pipeline";
import type { Device } from "@dit/core/tensor";
import { assert, assertEquals } from "@std/assert";
import type { Examples } from "@dit/data";
import { eachDevice } from "../../../tests/devices.ts";
import { numbers } from "../../../tests/numbers.ts";
import { onRanks } from "../../distributed/world_test_util.ts";
import { ALONE, type World } from "../../distributed/world.ts";
import { DiTTrainee } from "./dit_trainee.ts";
import type { TrainFlags } from "./flags.ts";
import { settingsOf } from "./settings.ts";

const STEPS = 20;
const BATCH = 4;
/** Its images are too bright for half precision. */
const OVERFLOWING = 9;
/** Samples are drawn after it. */
const DRAWN = 12;
/** A part of a batch that is larger than all others. */
const LARGER = 15;

const DIT: ModelConfig["dit"] = {
  inputSize: 8,
  patchSize: 4,
  inChannels: 1,
  hiddenSize: 16,
  depth: 2,
  numHeads: 2,
  mlpRatio: 2,
  classDropoutProb: 0.3,
  numClasses: 3,
  learnSigma: false,
};

/** What is trained, by what is special about it. */
const RUNS: Readonly<
  Record<string, { flags: TrainFlags; dit?: object; diffusion?: object; replayed: number }>
> = {
  "Gaussian with a learned variance in f32, in parts, with several averages": {
    flags: { "grad-accum": 2, "ema-decay": "0.9,0.5,power0.1", "warmup": 5, "schedule": "cosine" },
    dit: { learnSigma: true },
    diffusion: { objective: "epsilon", diffusionSteps: 20 },
    replayed: 0.43, // the averages are as many launches as so small a model
  },
  "a flow in half precision, computed twice": {
    flags: { "process": "flow", "mixed-precision": "fp16", "grad-checkpoint": true },
    diffusion: { process: "flow", objective: "v" },
    replayed: 0.45, // the first step makes copies of weights that later ones are given
  },
  "a flow in half precision, in parts": {
    flags: { "process": "flow", "mixed-precision": "fp16", "grad-accum": 2 },
    diffusion: { process: "flow", objective: "xstart" },
    replayed: 0.45,
  },
  "a guided model of two heads": {
    flags: { "process": "flow", "time-shift": 2, "weight-decay": 0.1 },
    dit: { earlyHead: 1, rope: true, mlp: "swiglu", norm: "rmsNorm" },
    diffusion: { process: "flow", objective: "v", timeShift: 2 },
    replayed: 0.6,
  },
  "model guidance": {
    flags: { "model-guidance": 0.5 },
    replayed: 0.57,
  },
};

function batchOf(step: number): Examples {
  const next = numbers(step + 1);
  const count = step === LARGER ? 2 * BATCH : BATCH;
  const scale = step === OVERFLOWING ? 1e5 : 1;
  return {
    images: Float32Array.from({ length: count * 64 }, () => (2 * next() - 1) * scale),
    shape: [count, 1, 8, 8],
    labels: Int32Array.from({ length: count }, () => Math.floor(next() * 3)),
  };
}

interface Outcome {
  /** Everything that training moves, and what was recorded of it. */
  readonly numbers: Map<string, ArrayLike<number>>;
  /** The part of launches that was replayed. */
  readonly replayed: number;
}

async function train(
  device: Device,
  { flags, dit, diffusion }: (typeof RUNS)[string],
  isCaptured: boolean | "as usual",
  world: World = ALONE,
): Promise<Outcome> {
  const recorder = device.backend.recorder!;
  const config: ModelConfig = {
    name: "test",
    dit: { ...DIT, ...dit },
    diffusion: {
      objective: "xstart",
      noiseSchedule: "linear",
      diffusionSteps: 1000,
      minSnrGamma: null,
      ...diffusion,
    },
    latents: null,
    classNames: ["a", "b", "c"],
    nullClass: 3,
  };
  const settings = settingsOf({
    ...flags,
    "global-batch-size": BATCH,
    "steps": STEPS,
    "sample-steps": 5,
    "cfg-scale": 2,
  });
  using run = new DiTTrainee(config, settings, { steps: STEPS, world });
  if (isCaptured !== "as usual") run.model.isCaptured = isCaptured;
  const outcome = new Map<string, ArrayLike<number>>();
  const before = recorder.launches;
  for (let step = 0; step < STEPS; step++) {
    await run.takeStep(batchOf(world.size * step + world.rank));
    await run.afterStep();
    if (step === DRAWN && world.size === 1) outcome.set("samples", (await run.draw())!);
  }
  const after = recorder.launches;
  for (const record of await run.records.take()) {
    outcome.set(`step ${record.step}`, Object.values(record));
  }
  for (const [section, part] of Object.entries(run.sections())) {
    for (const [name, t] of part.stateDict()) {
      outcome.set(`${section} ${name}`, await t.data());
      if (section !== "model") t.dispose(); // a view of what is the section's
    }
  }
  return {
    numbers: outcome,
    replayed: (after.replayed - before.replayed) / (after.all - before.all),
  };
}

for (const [name, run] of Object.entries(RUNS)) {
  eachDevice(`steps that are replayed have the same bits: ${name}`, async (device) => {
    const made = await train(device, run, false);
    const { numbers, replayed } = await train(device, run, true);
    assertEquals(made.replayed, 0);
    assert(replayed > run.replayed, `replayed ${replayed} of all launches`);
    for (const [what, values] of made.numbers) assertEquals(numbers.get(what), values, what);
    if (run.flags["mixed-precision"] === "fp16") {
      assert(numbers.get("scaler skipped")![0]! > 0, "expected a step that overflowed");
    }
  }, ["wasm", "webgpu"]);
}

eachDevice("ranks replay steps where gradients are copied from a GPU", async (device) => {
  const run = RUNS["a flow in half precision, in parts"]!;
  const made = await onRanks(2, (world) => train(device, run, false, world));
  const all = await onRanks(2, (world) => train(device, run, "as usual", world));
  const isCopied = device.backend.hostView === undefined;
  for (const [rank, { numbers, replayed }] of all.entries()) {
    assertEquals(replayed > 0.3, isCopied, `replayed ${replayed} of all launches`);
    for (const [what, values] of made[rank]!.numbers) assertEquals(numbers.get(what), values, what);
  }
}, ["wasm", "webgpu"]);
