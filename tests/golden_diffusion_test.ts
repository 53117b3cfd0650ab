/** Schedules, closed forms and likelihoods against the original's numbers. */
import { assertEquals, assertThrows } from "@std/assert";
import { gradients, Parameter } from "../autograd/mod.ts";
import {
  approxStandardNormalCdf,
  type BetaSchedule,
  continuousGaussianLogLikelihood,
  createDiffusion,
  type DiffusionOptions,
  discretizedGaussianLogLikelihood,
  type GaussianDiffusion,
  getBetaSchedule,
  type NoiseScheduleName,
  normalKl,
  spaceTimesteps,
} from "../diffusion/mod.ts";
import { scope, tensor } from "../tensor/mod.ts";
import { goldenTest } from "./fixtures.ts";
import { assertGolden, assertScaled, Golden, goldenJson, goldenOnDevices } from "./goldens.ts";

interface Arrays {
  cases: {
    index: number;
    timestep_respacing: string;
    noise_schedule: NoiseScheduleName;
    diffusion_steps: number;
    num_timesteps: number;
    arrays: string[];
  }[];
  flags: Record<string, boolean | string>[];
  space_timesteps: {
    num_timesteps: number;
    section_counts: string | number[];
    timesteps: number[];
  }[];
  space_timesteps_errors: {
    num_timesteps?: number;
    section_counts?: string;
    create_diffusion?: Record<string, unknown>;
  }[];
}

const ARRAYS = ["diffusion/arrays.json", "diffusion/arrays.safetensors"] as const;
const FUNCTION_LIMIT = 5e-5;
const GRADIENT_LIMIT = 5e-4;

/** `snake_case` to `camelCase`. */
const camel = (name: string): string => name.replace(/_+(\w)/g, (_, c: string) => c.toUpperCase());

/** A call's keyword arguments under this project's names. */
const optionsOf = (call: Record<string, unknown>): DiffusionOptions =>
  Object.fromEntries(Object.entries(call).map(([key, value]) => [camel(key), value]));

/** Asserts agreement of every element by itself. */
function assertRelative(name: string, got: ArrayLike<number>, want: ArrayLike<number>): void {
  assertEquals(got.length, want.length, name);
  for (let i = 0; i < want.length; i++) assertScaled(`${name}[${i}]`, [got[i]!], [want[i]!], 1e-10);
}

goldenTest("every schedule array of every case is the original's", ARRAYS, async () => {
  const { cases } = await goldenJson<Arrays>(ARRAYS[0]);
  const golden = await Golden.load(ARRAYS[1]);
  for (const { index, arrays, ...call } of cases) {
    const { num_timesteps, timestep_respacing, noise_schedule, diffusion_steps } = call;
    const diffusion = createDiffusion(
      optionsOf({ timestep_respacing, noise_schedule, diffusion_steps }),
    );
    assertEquals(diffusion.numTimesteps, num_timesteps);
    for (const name of arrays) {
      if (name === "posterior_log_variance_clipped" && num_timesteps === 1) continue; // is empty
      const got = diffusion[camel(name) as keyof GaussianDiffusion] as ArrayLike<number>;
      assertRelative(`${index}/${name}`, got, golden.doubles(`${index}/${name}`));
    }
    assertEquals([...diffusion.timestepMap], golden.integers(`${index}/timestep_map`));
  }
  const single = createDiffusion({ timestepRespacing: "1" });
  assertEquals(single.posteriorLogVarianceClipped.length, 0);
});

goldenTest("raw schedules are the original's", ARRAYS, async () => {
  const golden = await Golden.load(ARRAYS[1]);
  const stored = golden.names("beta_schedule/");
  assertEquals(stored.length, 6);
  for (const key of stored) {
    const [, name, count] = /\/(\w+)_(\d+)$/.exec(key)!;
    const betas = getBetaSchedule(name as BetaSchedule, {
      betaStart: 1e-4,
      betaEnd: 0.02,
      numDiffusionTimesteps: Number(count),
    });
    assertRelative(key, betas, golden.doubles(key));
  }
});

goldenTest(
  "createDiffusion() reads all combinations of flags as the original",
  ARRAYS,
  async () => {
    const json = await goldenJson<Arrays>(ARRAYS[0]);
    assertEquals(json.flags.length, 32);
    for (const { model_mean_type, model_var_type, loss_type, ...flags } of json.flags) {
      const { objective, varType, lossType } = createDiffusion(optionsOf(flags));
      const want = [model_mean_type, model_var_type, loss_type] as string[];
      const names = want.map((name) => camel(name.toLowerCase()));
      assertEquals([objective, varType, lossType] as string[], [
        names[0] === "startX" ? "xstart" : names[0],
        ...names.slice(1),
      ]);
    }
  },
);

goldenTest("spaceTimesteps() keeps and refuses what the original does", ARRAYS, async () => {
  const json = await goldenJson<Arrays>(ARRAYS[0]);
  for (const { num_timesteps, section_counts, timesteps } of json.space_timesteps) {
    assertEquals(spaceTimesteps(num_timesteps, section_counts), timesteps);
  }
  for (const refused of json.space_timesteps_errors) {
    const { num_timesteps, section_counts, create_diffusion } = refused;
    assertThrows(() => {
      if (create_diffusion) createDiffusion(optionsOf(create_diffusion));
      else spaceTimesteps(num_timesteps!, section_counts!);
    }, RangeError);
  }
});

goldenOnDevices(
  "the closed forms of q are the original's",
  ["diffusion/q_functions.safetensors"],
  async () => {
    const golden = await Golden.load("diffusion/q_functions.safetensors");
    using _ = scope();
    const diffusion = createDiffusion();
    const [xStart, xT, noise] = ["x_start", "x_t", "noise"].map((n) =>
      golden.tensor(`in/${n}`)
    ) as [
      ReturnType<typeof golden.tensor>,
      ReturnType<typeof golden.tensor>,
      ReturnType<typeof golden.tensor>,
    ];
    const host = golden.integers("in/t");
    for (const t of [host, tensor(host, [host.length], { dtype: "i32" })]) {
      const marginal = diffusion.qMeanVariance(xStart, t);
      const posterior = diffusion.qPosteriorMeanVariance(xStart, xT, t);
      const results = {
        q_sample: diffusion.qSample(xStart, t, noise),
        q_mean: marginal.mean,
        q_variance: marginal.variance,
        q_log_variance: marginal.logVariance,
        posterior_mean: posterior.mean,
        posterior_variance: posterior.variance,
        posterior_log_variance_clipped: posterior.logVariance,
        xstart_from_eps: diffusion.predictXstartFromEps(xT, t, noise),
        eps_from_xstart: diffusion.predictEpsFromXstart(xT, t, xStart),
      };
      for (const [name, got] of Object.entries(results)) {
        await assertGolden(golden, got, `out/${name}`, FUNCTION_LIMIT);
      }
    }
    // the reference takes a difference in float32
    await assertGolden(golden, diffusion.priorBpd(xStart), "out/prior_bpd", 2e-3);
  },
);

goldenOnDevices(
  "likelihoods and gradients are the original's",
  ["diffusion/utils.safetensors"],
  async () => {
    const golden = await Golden.load("diffusion/utils.safetensors");
    using _ = scope();
    const parameter = (name: string) => new Parameter(golden.tensor(name));
    const [m1, l1, m2, l2] = ["m1", "l1", "m2", "l2"].map((n) => parameter(`kl/${n}`)) as [
      Parameter,
      Parameter,
      Parameter,
      Parameter,
    ];
    const kl = normalKl(m1, l1, m2, l2);
    await assertGolden(golden, kl, "kl/out", FUNCTION_LIMIT);
    await assertGolden(golden, normalKl(m1, l1, 0, 0), "kl/out_scalar", FUNCTION_LIMIT);
    const byKl = gradients(kl, [m1, l1, m2, l2], golden.tensor("kl/gout"));
    for (const [i, name] of ["m1", "l1", "m2", "l2"].entries()) {
      await assertGolden(golden, byKl[i]!, `kl/grad_${name}`, GRADIENT_LIMIT);
    }

    const cdf = approxStandardNormalCdf(golden.tensor("cdf/x"));
    await assertGolden(golden, cdf, "cdf/out", FUNCTION_LIMIT);

    const [means, logScales] = [parameter("nll/means"), parameter("nll/log_scales")];
    const x = golden.tensor("nll/x");
    const normal = continuousGaussianLogLikelihood(x, { means, logScales });
    await assertGolden(golden, normal, "cll/out", FUNCTION_LIMIT);
    const pixels = discretizedGaussianLogLikelihood(x, { means, logScales });
    await assertGolden(golden, pixels, "nll/out", FUNCTION_LIMIT);
    const byPixels = gradients(pixels, [means, logScales], golden.tensor("nll/gout"));
    await assertGolden(golden, byPixels[0]!, "nll/grad_means", GRADIENT_LIMIT);
    await assertGolden(golden, byPixels[1]!, "nll/grad_log_scales", GRADIENT_LIMIT);
  },
);
