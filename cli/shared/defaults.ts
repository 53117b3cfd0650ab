/** Defaults that `launch.ts` gives rights by, and the commands go by: data, and paths of output. */

/** What is trained on. */
export const DATA = "mnist";
/** The folder of runs. */
export const RESULTS = "results";
/** The folder of an autoencoder that is trained here. */
export const VAE_OUT = "results/vae";
/** The folder of extracted latents. */
export const FEATURES_OUT = "features";
/** Pictures that are sampled. */
export const SAMPLE_OUT = "samples/sample.png";
/** The folder of pictures by the ten thousand. */
export const SAMPLES = "samples";
/** Where the studio listens: within reach of this machine alone. */
export const SERVE = { host: "127.0.0.1", port: 8000 } as const;
/** The folder of features, classifiers and pages that evaluation keeps. */
export const EVALUATION_CACHE = "evaluation";
/** The folder of cropped images that training keeps. */
export const CROPS = "crops";
/** Gigabytes of them, at most. */
export const CROPS_SIZE = 4;
