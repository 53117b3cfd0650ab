import { DIT_SWITCHES } from "@dit/core/dit";
import { ConfigError, DIT, Fields } from "@dit/core/pipeline";
import { assertEquals, assertThrows } from "@std/assert";
import { UsageError } from "../../shared/errors.ts";
import { parseFlags } from "../../shared/flags.ts";
import { readSettings } from "../../shared/settings.ts";
import { TRAIN_FLAGS, type TrainFlags, type TrainSettings } from "./flags.ts";
import type { DataShape } from "./open_data.ts";
import {
  modelConfigOf,
  resumedSettings,
  type RunDescription,
  sameRun,
  settingsOf,
  settledBy,
} from "./settings.ts";

/** 24 images of 8x8 pixels in three classes. */
const IMAGES = 24;
const SHAPE: DataShape = {
  kind: "images",
  channels: 3,
  side: 8,
  imageSize: 8,
  classNames: ["a", "b", "c"],
  latents: null,
};
const TINY = "--data pictures --image-size 8 --patch-size 4 --hidden-size 32 --batch-size 4";

function flagsOf(line: string): TrainFlags {
  return parseFlags(line.split(" "), TRAIN_FLAGS);
}

function newRun(line: string): RunDescription {
  const flags = flagsOf(line);
  const settings = settledBy(SHAPE, settingsOf(flags), flags, IMAGES);
  return { settings, config: modelConfigOf(flags, settings, SHAPE) };
}

Deno.test("only small models draw samples at the end unless they are asked for", () => {
  const drawn = (flags: Parameters<typeof settingsOf>[0]) => settingsOf(flags).finalSamples;
  assertEquals([drawn({}), drawn({ model: "DiT-XL/2" })], [20, 0]);
  assertEquals(drawn({ model: "DiT-XL/2", "final-samples": 3 }), 3);
});

Deno.test("a run is as long as its steps or its epochs say, begun or continued", () => {
  const both = { steps: 5, epochs: 1 };
  assertThrows(() => settingsOf(both), UsageError, "--steps or --epochs but got both");
  const before = settingsOf({ steps: 3 });
  assertThrows(() => resumedSettings(before, both), UsageError, "--steps or --epochs but got both");
  const { steps, epochs } = resumedSettings(before, { epochs: 2 });
  assertEquals([steps, epochs], [null, 2]);
});

Deno.test("the command line of a run resumes it, and so do the run's values spelled out", () => {
  const lines = [
    `${TINY} --steps 9 --seed 0`,
    `${TINY} --epochs 2 --lr 0.01 --warmup 3 --no-flip --learn-sigma --min-snr 5 --vae none`,
    `${TINY} --process flow --time-shift 2 --timestep-sampler logit-normal --time-mean -0.8`,
    `${TINY} --model DiT-B/4 --num-heads 4 --objective v --diffusion-steps 100 --class-dropout 0`,
  ];
  for (const line of lines) {
    const { settings, config } = newRun(line);
    assertEquals(resumedSettings(settings, flagsOf(line), config), settings);
    assertEquals(sameRun(flagsOf(line), { settings, config }), true, line);
  }
  const { settings, config } = newRun(lines[0]!);
  const spelled = flagsOf("--num-classes 3 --mlp-ratio 4 --num-heads 4 --depth 4 --warmup 0");
  assertEquals(resumedSettings(settings, spelled, config), settings);
});

Deno.test("averages are the same however they are written", () => {
  const { settings, config } = newRun(`${TINY} --ema-decay 0.9,power0.1`);
  const again = resumedSettings(settings, flagsOf("--ema-decay .90,power.1"), config);
  assertEquals(again.emaDecay, "0.9,power0.1");
  assertEquals(flagsOf("--ema-decay power.10")["ema-decay"], "power0.1");
});

Deno.test("a flow has defaults of its own, and what others have is refused by its flag", () => {
  const line = `${TINY} --steps 9 --process flow`;
  const { config } = newRun(line);
  const { process, objective, timeShift } = config.diffusion;
  assertEquals([process, objective, timeShift, config.dit.learnSigma], ["flow", "v", 1, false]);
  assertEquals(newRun(`${line} --model DiT-B/4 --num-heads 4`).config.dit.learnSigma, false);
  const run = newRun(`${line} --objective xstart --time-shift 2 --timestep-sampler logit-normal`);
  assertEquals([run.settings.timeMean, run.settings.timeScale], [0, 1]);
  assertEquals(resumedSettings(run.settings, flagsOf("--time-shift 2"), run.config), run.settings);
  assertEquals(newRun(TINY).config.diffusion.timeShift, undefined);
  const refused = [
    [`${line} --objective epsilon`, "--process flow, --objective epsilon: FlowMatching: expected"],
    [`${line} --diffusion-steps 50`, "--diffusion-steps: --process flow has no such setting"],
    [`${line} --noise-schedule linear`, "--noise-schedule: --process flow has no such setting"],
    [`${line} --min-snr 5`, "--min-snr: --process flow has no such setting"],
    [`${line} --learn-sigma`, "--learn-sigma: --process flow has no such setting"],
    [`${TINY} --time-shift 2`, "--time-shift: --process gaussian has no such setting"],
    [`${line} --time-mean -1`, "--time-mean: expected --timestep-sampler logit-normal with it"],
    [
      `${line} --timestep-sampler loss-second-moment`,
      "--timestep-sampler loss-second-moment with --process flow: timestepSampler: expected",
    ],
    [
      `${TINY} --timestep-sampler logit-normal`,
      "--timestep-sampler logit-normal with --process gaussian: createTimestepSampler: expected",
    ],
    [
      `${line} --sample-sampler ddpm`,
      "--sample-sampler: sample: ddpm needs a process that knows p(x_{t-1} | x_t) but the " +
      "process is flow",
    ],
  ] as const;
  for (const [wrong, message] of refused) assertThrows(() => newRun(wrong), UsageError, message);
  const resumed = () => resumedSettings(run.settings, flagsOf("--sample-sampler ddpm"), run.config);
  assertThrows(resumed, UsageError, "but the process is flow");
});

Deno.test("resuming with another value of what decides the numbers names both", () => {
  const { settings, config } = newRun(`${TINY} --steps 9`);
  const cases = [
    ["--seed 1", "--global-seed: the run has 0 but got 1; --resume continues a run as it was"],
    ["--hidden-size 64", "--hidden-size: the run has 32 but got 64;"],
    ["--model DiT-XS/2", "--model: the run has DiT-Mini/4 but got DiT-XS/2;"],
    ["--min-snr 5", "--min-snr: the run has none but got 5;"],
    ["--no-flip", "--flip: the run has on but got off;"],
    ["--vae ema", "--vae: the run has none but got ema;"],
    ["--image-size 16", "--image-size: the run has 8 but got 16;"],
  ] as const;
  for (const [line, message] of cases) {
    assertThrows(() => resumedSettings(settings, flagsOf(line), config), UsageError, message);
  }
  const free = flagsOf("--steps 12 --keep 1 --data moved --device wasm --resume latest");
  const { steps, keep, data } = resumedSettings(settings, free, config);
  assertEquals([steps, keep, data], [12, 1, "moved"]);
});

Deno.test("a run is looked for by all settings that identify it", () => {
  const run = newRun(`${TINY} --steps 30`);
  const same = ["--keep 1", "--log-every 3", "--lr 0.001", "--device wasm", "--data ./pictures/"];
  for (const more of same) assertEquals(sameRun(flagsOf(`${TINY} --steps 30 ${more}`), run), true);
  const other = [
    "--seed 1",
    "--lr 1",
    "--data other",
    "--warmup 30",
    "--depth 1",
    "--num-classes 9",
    "--steps 31",
    "--model DiT-B/4",
    "--vae ema",
    "--patch-size 3",
    "--num-classes 1",
  ];
  for (const more of other) {
    assertEquals(sameRun(flagsOf(`${TINY} --steps 30 ${more}`), run), false, more);
  }
  const unsized = TINY.replace("--image-size 8 ", "");
  assertEquals(sameRun(flagsOf(`${unsized} --steps 30`), run), false, "32 pixels are usual");
  assertEquals(sameRun({}, run), false);
  assertEquals(sameRun(flagsOf(`${TINY} --steps 30`), newRun(TINY + " --steps 30 --lr 1")), false);
});

Deno.test("a run of data that are drawn at any size is looked for by its size", () => {
  const run = (size: number): RunDescription => {
    const shape: DataShape = { ...SHAPE, kind: "named", side: size, imageSize: size };
    const flags = flagsOf(`--data emoji --steps 9 --image-size ${size}`);
    const settings = settledBy(shape, settingsOf(flags), flags, 500);
    return { settings, config: modelConfigOf(flags, settings, shape) };
  };
  const isFound = (line: string, size: number) => sameRun(flagsOf(line), run(size));
  assertEquals([64, 32, 256].map((size) => isFound("--data emoji --steps 9", size)), [
    true,
    false,
    false,
  ]);
  assertEquals(isFound("--data emoji --steps 9 --image-size 256", 256), true);
});

Deno.test("a run of files that have a size of their own is looked for at that size", () => {
  const shape: DataShape = { ...SHAPE, kind: "named", side: 32, imageSize: 32 };
  const line = "--data fashion --model DiT-B/4 --num-heads 4 --hidden-size 32 --steps 9";
  const flags = flagsOf(`${line} --batch-size 4`);
  const settings = settledBy(shape, settingsOf(flags), flags, IMAGES);
  const run = { settings, config: modelConfigOf(flags, settings, shape) };
  assertEquals(sameRun(flags, run, true), true);
  assertEquals(sameRun(flags, run), false, "of a folder of images 256 pixels are usual");
  assertEquals(sameRun({ ...flags, "image-size": 28 }, run, true), false);
  const large = { ...run, settings: { ...settings, imageSize: 128 } };
  assertEquals(sameRun(flags, large, true), true);
});

Deno.test("warm-up is made to fit a run of epochs just as one of steps", () => {
  const warmup = (line: string) => newRun(`${TINY} ${line}`).settings.warmup;
  assertEquals([warmup("--steps 30"), warmup("--epochs 5")], [3, 3]);
  assertEquals([warmup("--steps 6000"), warmup("--epochs 1000")], [50, 50]);
  for (const length of ["--steps 6", "--epochs 1"]) {
    assertThrows(
      () => newRun(`${TINY} ${length} --warmup 1000`),
      UsageError,
      "--warmup: expected 6 at most, the number of steps, but got 1000",
    );
    assertEquals(warmup(`${length} --warmup 6`), 6);
  }
});

Deno.test("a batch is no larger than the data", () => {
  assertThrows(
    () => newRun(`${TINY} --batch-size 25`),
    UsageError,
    "--global-batch-size: expected 24 at most, the number of examples, but got 25",
  );
});

Deno.test("previews use any sampler that can take their steps", () => {
  assertEquals(settingsOf({}).sampleSampler, "ddim");
  const flags = flagsOf("--sample-sampler heun --sample-steps 9");
  const { sampleSampler, sampleSteps } = settingsOf(flags);
  assertEquals([sampleSampler, sampleSteps], ["heun", 9]);
  const message = "--sample-steps: expected 2 or more with --sample-sampler ddpm but got 1";
  const wrong = flagsOf("--sample-sampler ddpm --sample-steps 1");
  assertThrows(() => settingsOf(wrong), UsageError, message);
  assertThrows(() => resumedSettings(settingsOf({}), wrong), UsageError, message);
  const short = `${TINY} --steps 9 --diffusion-steps 22`;
  const { settings, config } = newRun(short); // of 25 steps by default, of which there are 22
  const tooMany = "--sample-steps: expected 22 at most, the model's timesteps, but got 23";
  assertThrows(() => newRun(`${short} --sample-steps 23`), UsageError, tooMany);
  const more = flagsOf("--sample-steps 23");
  assertThrows(() => resumedSettings(settings, more, config), UsageError, tooMany);
});

Deno.test("what a model or its process cannot be is refused by the flag", () => {
  const cases = [
    [
      "--mlp-ratio 0.01",
      "--mlp-ratio: expected 0.03125 or more, for tokens of a width of 32, but got",
    ],
    ["--mlp-ratio 0", "--mlp-ratio: expected 0.03125 or more"],
    ["--diffusion-steps 10", "--diffusion-steps: expected 21 or more with --noise-schedule linear"],
    ["--diffusion-steps 1e9", "--diffusion-steps: expected 1000000 at most but got 1000000000"],
    ["--patch-size 3", "--patch-size: expected a divisor of 8"],
    ["--hidden-size 34", "--hidden-size: expected a multiple of 4 and of --num-heads 4"],
    ["--rope --num-heads 16", "--rope: expected heads of a multiple of 4 numbers but got --hidden"],
    ["--depth 3 --early-head 3", "--early-head: expected fewer than the 3 blocks of the model but"],
    [
      "--model-guidance 1 --class-dropout 0",
      "--model-guidance: expected a model with a null class",
    ],
    ["--model-guidance 1 --learn-sigma", "does not learn the variance but got --learn-sigma"],
    ["--model-guidance 1 --early-head 1", "with one head but got --early-head"],
    [
      "--model-guidance 1 --class-dropout 1",
      "a model that sees classes but got --class-dropout 1; leave one of them out",
    ],
    [
      "--cfg-scale 3 --class-dropout 0",
      "--cfg-scale: expected a model with a null class, which guidance needs, but got --class-dropout",
    ],
    ["--bottleneck 49", "--bottleneck: expected 48 at most, between patches of 48 numbers and"],
    ["--qk-norm --num-heads 32", "--qk-norm: expected heads of several numbers"],
    ["--ema-decay 0.9,1", "--ema-decay: expected decays below 1, which keeps what it began with"],
    ["--norm batch", "--norm: expected one of layerNorm, rmsNorm but got"],
    ["--num-classes 2", "--num-classes: expected 3 or more"],
    ["--grad-accum 3", "--grad-accum: expected a number of equal parts of a batch of 4"],
    ["--num-workers 129", "--num-workers: expected 128 at most but got 129"],
    ["--image-size 1e9", "--image-size: expected 16384 at most but got 1000000000"],
    ["--num-classes 1e9", "--num-classes: expected 1048576 at most but got 1000000000"],
    [
      "--process flow --sample-steps 1e9",
      "--sample-steps: expected 1000000 at most but got 1000000000",
    ],
  ] as const;
  for (const [line, message] of cases) {
    assertThrows(() => newRun(`${TINY} ${line}`), UsageError, message);
  }
});

Deno.test("what needs classes is refused where the data have one", () => {
  const one = (line: string) => {
    const flags = flagsOf(`${TINY} ${line}`);
    return modelConfigOf(flags, settingsOf(flags), { ...SHAPE, classNames: ["all"] });
  };
  assertEquals(one("--steps 9").nullClass, null);
  const cases = [
    ["--balance", "--balance: expected data of several classes but pictures has one"],
    ["--model-guidance 1", "--model-guidance: expected a model with a null class, which guidance"],
    ["--cfg-scale 3", "needs, but pictures has one class; leave one of them out"],
  ] as const;
  for (const [line, message] of cases) assertThrows(() => one(line), UsageError, message);
});

Deno.test("models that learn guidance are sampled without it", () => {
  assertEquals(newRun(TINY).settings.cfgScale, 2);
  assertEquals(newRun(`${TINY} --model-guidance 0.5`).settings.cfgScale, 1);
  assertEquals(newRun(`${TINY} --model-guidance 0.5 --cfg-scale 1.5`).settings.cfgScale, 1.5);
});

Deno.test("switches of a model are kept where they are not the paper's, and known again", () => {
  const { dit } = newRun(TINY).config;
  assertEquals(DIT_SWITCHES.filter((name) => name in dit), []);
  const line =
    `${TINY} --norm rmsNorm --rope --qk-norm --conditioning crossAttention --bottleneck 4`;
  const { config } = newRun(line);
  const kept = {
    norm: "rmsNorm",
    rope: true,
    qkNorm: true,
    conditioning: "crossAttention",
    bottleneck: 4,
  };
  assertEquals<object>(Object.fromEntries(Object.entries(config.dit).slice(-5)), kept);
  const readBack = (dit: object) =>
    DIT.readConfig(new Fields(JSON.parse(JSON.stringify({ ...config, dit })), "FILE: "));
  assertEquals(readBack(config.dit), config);
  assertThrows(
    () => readBack({ ...config.dit, norm: "none" }),
    ConfigError,
    'FILE: dit.norm: expected one of layerNorm, rmsNorm but found "none"',
  );
  assertThrows(() => readBack({ ...config.dit, rope: "2d" }), ConfigError, "true or false");
});

Deno.test("a run that began with weights is found again by its own flags", () => {
  const line = `${TINY} --init weights.pt --freeze blocks.0`;
  const run = newRun(`${TINY} --freeze blocks.0 --init weights.pt --rope --depth 3`);
  assertEquals(sameRun(flagsOf(line), run), true);
  assertEquals(sameRun(flagsOf(`${line} --depth 3`), run), true);
  assertEquals(sameRun(flagsOf(`${line} --depth 2`), run), false);
  assertEquals(sameRun(flagsOf(`${TINY} --init other.pt --freeze blocks.0`), run), false);
  assertEquals(sameRun(flagsOf(TINY), run), false);
});

Deno.test("settings as runs have stored them before are read, with what they lack", () => {
  // a header of the first release; a key that is renamed could not be resumed
  const stored: Omit<
    TrainSettings,
    | "strict"
    | "cropCache"
    | "sampleSampler"
    | "timeMean"
    | "timeScale"
    | "evalEvery"
    | "evalSamples"
    | "evalFeatures"
    | "beta2"
    | "balance"
    | "modelGuidance"
    | "init"
    | "freeze"
    | "lrScale"
  > = {
    data: "mnist",
    imageSize: 32,
    vae: "none",
    workers: 4,
    flip: false,
    steps: 1300,
    epochs: null,
    batchSize: 64,
    gradAccum: 1,
    lr: 1e-3,
    warmup: 50,
    schedule: "constant",
    weightDecay: 0,
    emaDecay: 0.999,
    emaWarmup: true,
    gradClip: 1,
    mixedPrecision: "no",
    gradCheckpoint: false,
    timestepSampler: "uniform",
    seed: 0,
    logEvery: 20,
    ckptEvery: 300,
    keep: 3,
    sampleEvery: 300,
    sampleSteps: 25,
    cfgScale: 2,
    finalSamples: 20,
  };
  const read = readSettings(TRAIN_FLAGS, stored);
  const since = {
    strict: false,
    cropCache: 4,
    sampleSampler: "ddim",
    timeMean: 0,
    timeScale: 1,
    evalEvery: 0,
    evalSamples: 250,
    evalFeatures: "classifier",
    balance: false,
    modelGuidance: 0,
    init: null,
    freeze: null,
    lrScale: null,
    beta2: 0.999,
  } as const;
  assertEquals(read, { ...stored, ...since });
  assertEquals(resumedSettings(read, flagsOf("--seed 0 --lr 1e-3 --steps 1300")), read);
});
