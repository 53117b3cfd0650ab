/** Whole trajectories, bounds and losses of a DiT against the original's numbers. */
import { assertEquals } from "@std/assert";
import { add, backward, cast, chunk, mean, mul, reshape, tanh } from "../autograd/mod.ts";
import {
  createDiffusion,
  type DiffusionOptions,
  type ModelFunction,
  type SampleLoopOptions,
  sampleProgressive,
  type SamplingStep,
} from "../diffusion/mod.ts";
import { DiT } from "../dit/mod.ts";
import { withoutInit } from "../nn/mod.ts";
import { scope, type Tensor } from "../tensor/mod.ts";
import {
  assertAbsolute,
  assertGolden,
  assertScaled,
  type DiTCase,
  ditOptions,
  Golden,
  goldenJson,
  goldenOnDevices,
} from "./goldens.ts";

const filesOf = (name: string) => [`${name}.json`, `${name}.safetensors`] as const;
const LOOPS = filesOf("sampling/loops");
const BPD = filesOf("sampling/bpd");
const LOSS = filesOf("loss/dit");
const modelFiles = (name: string) => [`dit/${name}.json`, `dit/${name}.weights.safetensors`];

async function loadDiT(name: string): Promise<DiT> {
  const [json, weights] = modelFiles(name) as [string, string];
  const { config } = await goldenJson<DiTCase>(json);
  const model = withoutInit(() => new DiT(ditOptions(config)));
  model.loadStateDict((await Golden.load(weights)).state());
  return model.eval();
}

/** A call's keyword arguments under this project's names. */
function optionsOf(call: Record<string, unknown>): DiffusionOptions {
  const camel = (name: string) => name.replace(/_(\w)/g, (_, c: string) => c.toUpperCase());
  return Object.fromEntries(Object.entries(call).map(([key, value]) => [camel(key), value]));
}

interface LoopCase {
  name: string;
  loop: "p_sample_loop" | "ddim_sample_loop" | string;
  create_diffusion: Record<string, unknown>;
  options: { clip_denoised: boolean; eta?: number };
  model_kwargs?: { cfg_scale?: number };
  extra?: string[];
}

type Labelled = { y: Tensor; cfgScale?: number };

/** What the trajectories call: the DiT, guided where there is a scale. */
function modelOf(dit: DiT): ModelFunction<Labelled> {
  return (x, t, { y, cfgScale }) => {
    if (cfgScale === undefined) return dit.forward(x, t, y);
    return dit.forwardWithCfg(x, t, y, cfgScale);
  };
}

/** -0.05 x (1 + t / 1000) + 0.01 y */
function condFn(x: Tensor, t: Tensor, { y }: Labelled): Tensor {
  const column = (v: Tensor) => reshape(v, [-1, 1, 1, 1]);
  const slope = add(mul(column(toFloat(t)), -0.05 / 1000), -0.05);
  return add(mul(x, slope), mul(column(toFloat(y)), 0.01));
}

const toFloat = (x: Tensor): Tensor => cast(x, "f32");

/** Largest relative errors of a trajectory; a clipped prediction amplifies at large t. */
const TRAJECTORY = 1e-4;
const CLIPPED_XSTART = 2e-3;

const NAMES = [
  "p_cfg_noclip",
  "p_cfg_clip",
  "p_nocfg_noclip",
  "p_nocfg_clip",
  "p_nocfg_squaredcos_xstart",
  "ddim_eta0_cfg_noclip",
  "ddim_eta0_nocfg_clip",
  "ddim_eta_cfg_clip",
  "ddim_eta_nocfg_noclip",
  "p_fixed_large",
  "p_fixed_small",
  "p_cond_fn",
  "ddim_cond_fn",
  "p_denoised_fn",
  "ddim_reverse",
];

/** One of each kind of loop and of model, guided or not; the loops themselves are the same. */
const ON_WEBGPU = ["p_cfg_clip", "ddim_eta_nocfg_noclip", "p_fixed_large", "p_cond_fn"];

for (const name of NAMES) {
  const dit = name.startsWith("p_fixed") ? "dit_c" : "dit_a";

  goldenOnDevices(
    `${name} follows the original's trajectory`,
    [...LOOPS, ...modelFiles(dit)],
    async () => {
      const { cases } = await goldenJson<{ cases: LoopCase[] }>(LOOPS[0]);
      const golden = await Golden.load(LOOPS[1]);
      using model = await loadDiT(dit);
      using _ = scope();
      const run = cases.find((c) => c.name === name)!;
      const { options, extra = [] } = run;
      const diffusion = createDiffusion(optionsOf(run.create_diffusion));
      const start = golden.tensor(`${name}/${name === "ddim_reverse" ? "x_0" : "x_T"}`);
      const cfgScale = run.model_kwargs?.cfg_scale;
      const stored = golden.names(`${name}/`);
      const settings: SampleLoopOptions<Labelled> = {
        clipDenoised: options.clip_denoised,
        modelKwargs: { y: golden.tensor(`${name}/y`), ...(cfgScale && { cfgScale }) },
        noiseFn: (step) => golden.part(`${name}/noise`, step),
        ...(extra.includes("cond_fn") && { condFn }),
        ...(extra.includes("denoised_fn") &&
          { denoisedFn: (x: Tensor) => mul(tanh(mul(x, 0.5)), 1.5) }),
      };
      const loops: Record<string, () => AsyncGenerator<SamplingStep>> = {
        p_sample_loop: () =>
          diffusion.pSampleLoopProgressive(modelOf(model), start.shape, {
            ...settings,
            noise: start,
          }),
        ddim_sample_loop: () =>
          diffusion.ddimSampleLoopProgressive(modelOf(model), start.shape, {
            ...settings,
            eta: options.eta ?? 0,
            noise: start,
          }),
      };
      const reverse = () =>
        diffusion.ddimReverseSampleLoopProgressive(modelOf(model), start, settings);
      const samples: number[] = [];
      const xStarts: number[] = [];
      const times: number[] = [];
      for await (const { sample, predXstart, t } of (loops[run.loop] ?? reverse)()) {
        samples.push(...await sample.data());
        xStarts.push(...await predXstart.data());
        times.push(t);
      }
      const forwards = name === "ddim_reverse";
      assertEquals(forwards ? times : times.reverse(), [...diffusion.timestepMap]);
      assertScaled("sample", samples, golden.floats(`${name}/sample`), TRAJECTORY);
      if (!stored.includes(`${name}/pred_xstart`)) return;
      const limit = options.clip_denoised ? CLIPPED_XSTART : TRAJECTORY;
      assertScaled("pred_xstart", xStarts, golden.floats(`${name}/pred_xstart`), limit);
    },
    ["wasm", ON_WEBGPU.includes(name) ? "webgpu" : "gpu"],
  );
}

goldenOnDevices(
  "sample() with guidance follows the original's",
  [...LOOPS, ...modelFiles("dit_a")],
  async () => {
    const golden = await Golden.load(LOOPS[1]);
    using model = await loadDiT("dit_a");
    using _ = scope();
    const half = (t: Tensor, index = 0) => chunk(t, 2)[index]!; // the original's batch is doubled
    const labels = golden.tensor("p_cfg_clip/y");
    const steps = sampleProgressive(createDiffusion(), model, [2, 4, 8, 8], {
      sampler: "ddpm",
      steps: 10,
      noise: half(golden.tensor("p_cfg_clip/x_T")),
      noiseFn: (step) => half(golden.part("p_cfg_clip/noise", step)),
      modelKwargs: { y: half(labels) },
      guidance: { scale: 4, nullKwargs: { y: half(labels, 1) } },
    });
    for await (const { sample, step } of steps) {
      const want = await half(golden.part("p_cfg_clip/sample", step)).data();
      assertScaled(`sample ${step}`, await sample.data(), want, TRAJECTORY);
    }
  },
);

for (
  const [name, dit] of [["learned", "dit_a"], ["learned_noclip", "dit_a"], [
    "fixed_small",
    "dit_c",
  ]] as const
) {
  goldenOnDevices(
    `the bound of ${name} is the original's`,
    [...BPD, ...modelFiles(dit)],
    async () => {
      type Case = {
        name: string;
        create_diffusion: Record<string, unknown>;
        clip_denoised: boolean;
      };
      const { cases } = await goldenJson<{ cases: Case[] }>(BPD[0]);
      const golden = await Golden.load(BPD[1]);
      using model = await loadDiT(dit);
      using _ = scope();
      const { create_diffusion, clip_denoised } = cases.find((c) => c.name === name)!;
      const diffusion = createDiffusion(optionsOf(create_diffusion));
      // a model as it is: its forward gets x, t and the keyword arguments in order
      const bound = diffusion.calcBpdLoop(model, golden.tensor(`${name}/x_start`), {
        clipDenoised: clip_denoised,
        modelKwargs: { y: golden.tensor(`${name}/y`) },
        noiseFn: (step) => golden.part(`${name}/noise`, step),
      });
      await assertGolden(golden, bound.totalBpd, `${name}/total_bpd`, 2e-4);
      await assertGolden(golden, bound.priorBpd, `${name}/prior_bpd`, 2e-3);
      await assertGolden(golden, bound.vb, `${name}/vb`, 2e-4);
      await assertGolden(golden, bound.xstartMse, `${name}/xstart_mse`, 2e-4);
      await assertGolden(golden, bound.mse, `${name}/mse`, 2e-4);
    },
  );
}

goldenOnDevices("losses of a DiT and its gradients are the original's", [
  ...LOSS,
  ...modelFiles("dit_b"),
], async () => {
  type Variant = { create_diffusion: Record<string, unknown>; terms: ("loss" | "mse" | "vb")[] };
  const { variants } = await goldenJson<{ variants: Record<string, Variant> }>(LOSS[0]);
  const golden = await Golden.load(LOSS[1]);
  using model = await loadDiT("dit_b");
  for (const [name, { create_diffusion, terms }] of Object.entries(variants)) {
    using _ = scope();
    const losses = createDiffusion(optionsOf(create_diffusion)).trainingLosses(
      model,
      golden.tensor("in/x_start"),
      golden.integers("in/t"),
      { noise: golden.tensor("in/noise"), modelKwargs: { y: golden.tensor("in/y") } },
    );
    for (const term of terms) {
      await assertGolden(golden, losses[term]!, `out/${name}/${term}`, 5e-5);
    }
    if (name !== "default") continue;
    backward(mean(losses.loss));
    for (const [key, parameter] of model.namedParameters()) {
      if (!parameter.requiresGrad) continue;
      const [got, want] = [await parameter.grad!.data(), golden.floats(`grad/${key}`)];
      if (!key.endsWith("attn.qkv.bias")) assertScaled(key, got, want, 5e-4);
      else { // the keys' third is zero in exact arithmetic
        const third = want.length / 3;
        const keys = [got, want].map((v) => v.subarray(third, 2 * third));
        assertAbsolute(key, keys[0]!, keys[1]!, 1e-6);
        const others = [got, want].map((v) => v.filter((_, i) => i < third || i >= 2 * third));
        assertScaled(key, others[0]!, others[1]!, 5e-4);
      }
    }
  }
});
