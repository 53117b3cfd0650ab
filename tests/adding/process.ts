import { type Addition, after, copyOf, replace } from "./addition.ts";

/** Flow matching along straight lines in the least code, as a process named `lines`. */
export const process: Addition = {
  heading: "A process",
  files: {
    "diffusion/linear_flow.ts": copyOf("diffusion/linear_flow_test_util.ts"),
    "diffusion/processes.ts": [
      after(
        `import type { Process } from "./process.ts";\n`,
        `import { LinearFlow } from "./linear_flow.ts";\n`,
      ),
      replace(`type ProcessName = "gaussian" |`, `type ProcessName = "gaussian" | "lines" |`),
      after(
        `createDiffusion(options),\n  },\n`,
        `  lines: { help: "straight lines", create: () => new LinearFlow() },\n`,
      ),
    ],
  },
  proof: `
    await run("train", "--data", "squares", "--process", "lines", "--steps", "2", "--device", "wasm",
      "--hidden-size", "16", "--depth", "1", "--num-heads", "2", "--batch-size", "2",
      "--sample-every", "0", "--final-samples", "0", "--results-dir", folder + "/lines");
    const out = folder + "/lines.npz";
    await run("sample", "--ckpt", folder + "/lines/000-DiT-Mini-4", "--n", "1", "--classes", "0",
      "--num-sampling-steps", "2", "--device", "wasm", "--sampler", "heun", "--out", out);
    const { findCheckpoint, openCheckpoint } = await load("cli/mod.ts");
    const { DIT } = await load("pipeline/mod.ts");
    const path = await findCheckpoint(folder + "/lines/000-DiT-Mini-4");
    const { header } = await openCheckpoint(path, DIT);
    assert(header.config.diffusion.process === "lines", "the checkpoint says the process");
    assert((await Deno.stat(out)).size > 0, "it is sampled from");
  `,
};
