import { type Addition, after, copyOf, replace } from "./addition.ts";

/** Flow matching along straight lines, as a process named `flow`. */
export const process: Addition = {
  heading: "A process",
  files: {
    "diffusion/linear_flow.ts": copyOf("diffusion/linear_flow_test_util.ts"),
    "diffusion/processes.ts": [
      after(
        `import type { Process } from "./process.ts";\n`,
        `import { LinearFlow } from "./linear_flow.ts";\n`,
      ),
      replace(`type ProcessName = "gaussian";`, `type ProcessName = "gaussian" | "flow";`),
      after(
        `    create: (options) => createDiffusion(options),\n  },\n`,
        `  flow: { help: "straight lines", create: () => new LinearFlow() },\n`,
      ),
    ],
  },
  proof: `
    await run("train", "--data", "squares", "--process", "flow", "--steps", "2", "--device", "wasm",
      "--hidden-size", "16", "--depth", "1", "--num-heads", "2", "--batch-size", "2",
      "--sample-every", "0", "--final-samples", "0", "--results-dir", folder + "/flow");
    const out = folder + "/flow.npz";
    await run("sample", "--ckpt", folder + "/flow/000-DiT-Mini-4", "--n", "1", "--classes", "0",
      "--num-sampling-steps", "2", "--device", "wasm", "--sampler", "heun", "--out", out);
    const { Checkpoint, DIT, findCheckpoint } = await load("cli/mod.ts");
    const path = await findCheckpoint(folder + "/flow/000-DiT-Mini-4");
    const { header } = await Checkpoint.open(path, DIT);
    assert(header.config.diffusion.process === "flow", "the checkpoint says the process");
    assert((await Deno.stat(out)).size > 0, "it is sampled from");
  `,
};
