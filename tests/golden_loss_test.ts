/** Training losses and p(x_{t-1} | x_t) against the original's numbers. */
import { assertEquals } from "@std/assert";
import { gradients, mul, Parameter, sum } from "../autograd/mod.ts";
import {
  type AnyObjective,
  createDiffusion,
  GaussianDiffusion,
  type LossType,
  type VarType,
} from "../diffusion/mod.ts";
import { scope, type Tensor, tensor } from "../tensor/mod.ts";
import { assertGolden, assertScaled, Golden, goldenJson, goldenOnDevices } from "./goldens.ts";

interface Analytic {
  cases: {
    name: string;
    model_mean_type: string;
    model_var_type: string;
    loss_type: string;
    terms: ("loss" | "mse" | "vb")[];
    model_out: string;
  }[];
  p_mean_variance_cases: string[];
}

const FILES = ["loss/analytic.json", "loss/analytic.safetensors"] as const;

const OBJECTIVES: Record<string, AnyObjective> = {
  EPSILON: "epsilon",
  START_X: "xstart",
  PREVIOUS_X: "previousX",
};
const VAR_TYPES: Record<string, VarType> = {
  LEARNED: "learned",
  LEARNED_RANGE: "learnedRange",
  FIXED_LARGE: "fixedLarge",
  FIXED_SMALL: "fixedSmall",
};
const LOSS_TYPES: Record<string, LossType> = {
  MSE: "mse",
  RESCALED_MSE: "rescaledMse",
  KL: "kl",
  RESCALED_KL: "rescaledKl",
};

function diffusionOf(meanType: string, varType: string, lossType = "MSE"): GaussianDiffusion {
  const { betas } = createDiffusion();
  return new GaussianDiffusion({
    betas,
    objective: OBJECTIVES[meanType]!,
    varType: VAR_TYPES[varType]!,
    lossType: LOSS_TYPES[lossType]!,
  });
}

/** A recorded output [N, 2 C, H, W] as one that a model with or without a variance gives. */
function recorded(golden: Golden, name: string, learnsVariance: boolean): Tensor {
  const [n, c, h, w] = golden.shape(name) as [number, number, number, number];
  if (learnsVariance) return golden.tensor(name);
  const half = c / 2 * h * w;
  const values = golden.floats(name).filter((_, i) => i % (2 * half) < half);
  return tensor(values, [n, c / 2, h, w], { dtype: "f32" });
}

goldenOnDevices("every loss and its gradient is the original's", FILES, async () => {
  const { cases } = await goldenJson<Analytic>(FILES[0]);
  const golden = await Golden.load(FILES[1]);
  const t = golden.integers("in/t");
  for (const { name, model_mean_type, model_var_type, loss_type, ...rest } of cases) {
    using _ = scope();
    const [xStart, noise] = [golden.tensor("in/x_start"), golden.tensor("in/noise")];
    const diffusion = diffusionOf(model_mean_type, model_var_type, loss_type);
    const output = new Parameter(recorded(golden, rest.model_out, diffusion.learnsVariance));
    const losses = diffusion.trainingLosses(
      (_, given) => {
        assertEquals(given.dtype, "i32");
        return output;
      },
      xStart,
      t,
      { noise },
    );
    assertEquals(Object.keys(losses).sort(), [...rest.terms].sort(), name);
    for (const term of rest.terms) {
      await assertGolden(golden, losses[term]!, `out/${name}/${term}`, 5e-5);
    }
    const weighted = sum(mul(losses.loss, golden.tensor("in/loss_weight")));
    const [gradient] = gradients(weighted, [output]);
    await assertGolden(golden, gradient!, `out/${name}/grad_model_out`, 5e-4);
  }
});

goldenOnDevices(
  "the loss is the same for timesteps on the device",
  FILES,
  async () => {
    const golden = await Golden.load(FILES[1]);
    using _ = scope();
    const host = golden.integers("in/t");
    const t = tensor(host, [host.length], { dtype: "i32" });
    const output = golden.tensor("in/model_out_eps");
    const diffusion = diffusionOf("EPSILON", "LEARNED_RANGE");
    const noise = golden.tensor("in/noise");
    const losses = diffusion.trainingLosses(() => output, golden.tensor("in/x_start"), t, {
      noise,
    });
    await assertGolden(golden, losses.loss, "out/LEARNED_RANGE.EPSILON.MSE/loss", 5e-5);
    await assertGolden(golden, losses.vb!, "out/LEARNED_RANGE.EPSILON.MSE/vb", 5e-5);
  },
);

goldenOnDevices(
  "x_t and the timesteps that the model gets are the original's",
  FILES,
  async () => {
    const golden = await Golden.load(FILES[1]);
    using _ = scope();
    const diffusion = createDiffusion();
    const seen: Promise<ArrayLike<number>>[] = [];
    const model = (x: Tensor, t: Tensor) => {
      seen.push(x.data(), t.data());
      return golden.tensor("in/model_out_eps");
    };
    const noise = golden.tensor("in/noise");
    diffusion.trainingLosses(model, golden.tensor("in/x_start"), golden.integers("in/t"), {
      noise,
    });
    const [x, t] = await Promise.all(seen);
    assertScaled("out/x_t", x!, golden.doubles("out/x_t"), 5e-5);
    assertEquals(Array.from(t!), golden.integers("out/t_mapped"));
  },
);

goldenOnDevices("pMeanVariance() is the original's in every case", FILES, async () => {
  const { p_mean_variance_cases } = await goldenJson<Analytic>(FILES[0]);
  const golden = await Golden.load(FILES[1]);
  for (const name of p_mean_variance_cases) {
    using _ = scope();
    const [varType, meanType, clip] = name.split(".") as [string, string, string];
    const diffusion = diffusionOf(meanType, varType);
    const output = recorded(golden, "in/model_out_eps", diffusion.learnsVariance);
    const { mean, variance, logVariance, predXstart } = diffusion.pMeanVariance(
      () => output,
      golden.tensor("in/x_t_pmv"),
      golden.integers("in/t"),
      { clipDenoised: clip === "clip1" },
    );
    await assertGolden(golden, mean, `pmv/${name}/mean`, 5e-5);
    await assertGolden(golden, variance, `pmv/${name}/variance`, 5e-5);
    await assertGolden(golden, logVariance, `pmv/${name}/log_variance`, 5e-5);
    await assertGolden(golden, predXstart, `pmv/${name}/pred_xstart`, 5e-5);
  }
});
