/** A little of everything: the same program in Deno, in pages, in Node and in Bun. */
import {
  AdamW,
  AutoencoderKL,
  backward,
  createDiffusion,
  DiT,
  Generator,
  init,
  type InitOptions,
  manualSeed,
  mean,
  noGrad,
  randn,
  sample,
  scope,
  shutdown,
  tensor,
} from "@dit/core";

/** What a device computed. */
export interface Outcome {
  readonly description: string;
  /** Losses of the steps, parameters after them, a sample, and what an autoencoder makes of it. */
  readonly numbers: number[];
}

/**
 * Trains a DiT for two steps, samples from it, and decodes the sample.
 *
 * @param parts `transformer` leaves the decoding out, whose shaders take a software adapter seconds.
 */
export async function workload(
  options: InitOptions,
  parts: "all" | "transformer" = "all",
): Promise<Outcome> {
  const device = await init(options);
  manualSeed(1);
  const numbers: number[] = [];
  {
    using _ = scope();
    const model = new DiT({
      inputSize: 8,
      patchSize: 2,
      inChannels: 4,
      hiddenSize: 32,
      depth: 2,
      numHeads: 2,
      numClasses: 3,
      learnSigma: true,
    });
    const diffusion = createDiffusion();
    const optimizer = new AdamW(model.namedParameters(), { lr: 1e-2 });
    const generator = new Generator(2);
    const images = randn([4, 4, 8, 8], { generator });
    const y = tensor([0, 1, 2, 0], [4], { dtype: "i32" });
    for (const t of [[10, 200, 500, 900], [0, 300, 700, 999]]) {
      using _ = scope();
      const { loss } = diffusion.trainingLosses(model, images, t, {
        modelKwargs: { y },
        generator,
      });
      const total = mean(loss);
      backward(total);
      optimizer.step();
      optimizer.zeroGrad();
      numbers.push(await total.item());
    }
    for (const parameter of model.parameters()) numbers.push((await parameter.data())[0] as number);
    model.eval();
    const drawn = await sample(diffusion, model, [1, 4, 8, 8], {
      sampler: "ddim",
      steps: 2,
      generator,
      modelKwargs: { y: tensor([1], [1], { dtype: "i32" }) },
    });
    numbers.push(...await drawn.data() as Float32Array);
    if (parts === "all") {
      const coder = { blockOutChannels: [8, 8], normNumGroups: 4, layersPerBlock: 1 };
      const vae = new AutoencoderKL(coder);
      vae.eval();
      numbers.push(...await noGrad(() => vae.decode(drawn)).data() as Float32Array);
    }
  }
  const { description } = device.backend;
  await shutdown(device);
  return { description, numbers };
}
