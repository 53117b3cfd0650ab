import { type Addition, before } from "./addition.ts";

/** A flag of `train` that is stored with the run, kept on resume and unknown to older checkpoints. */
export const flag: Addition = {
  heading: "A flag",
  files: {
    "cli/commands/train/flags.ts": [
      before(
        `  "timestep-sampler": setting(`,
        `  "offset-noise": setting(real("strength of noise that is equal all over an image"), {
    key: "offsetNoise",
    small: 0.25,
    original: 0,
    whenAbsent: 0,
  }),
`,
      ),
    ],
  },
  proof: `
    const help = await run("train", "--help");
    assert(/--offset-noise X +strength.*default 0.25, or 0 for the paper's models/.test(help), help);
    const { settingsOf, resumedSettings } = await load("cli/commands/train/settings.ts");
    assert(settingsOf({}).offsetNoise === 0.25, "the small models' default");
    assert(settingsOf({ model: "DiT-S/2" }).offsetNoise === 0, "the paper's models' default");
    const { offsetNoise: _, ...older } = settingsOf({});
    assert(resumedSettings(older, {}).offsetNoise === 0, "what older checkpoints stand for");
    try {
      resumedSettings(settingsOf({}), { "offset-noise": 0.5 });
      throw new Error("expected another value to be refused");
    } catch (error) {
      assert(error.message.includes("--offset-noise: the run has 0.25 but got 0.5"), error.message);
    }
  `,
};
