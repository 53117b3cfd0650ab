import { type Addition, before, file } from "./addition.ts";

/** Data that `--data` knows by name. */
export const dataset: Addition = {
  heading: "A dataset",
  files: {
    "data/squares.ts": file(`import { ImageArray } from "./dataset.ts";

/** A black and a white square. */
export function loadSquares(): ImageArray {
  const pixels = Uint8Array.from({ length: 2 * 8 * 8 }, (_, i) => i < 64 ? 0 : 255);
  const labels = Int32Array.of(0, 1);
  return new ImageArray({
    pixels,
    labels,
    classNames: ["black", "white"],
    channels: 1,
    height: 8,
    width: 8,
  });
}
`),
    "data/mod.ts": [
      before(`export { loadMnist`, `export { loadSquares } from "./squares.ts";\n`),
    ],
    "cli/shared/named_data.ts": [
      before(
        `};

/** What is special about data`,
        `  "squares": {
    help: "a black and a white square",
    imageSize: 8,
    flip: true,
    native: false,
    async open() {
      const { loadSquares } = await import("@dit/data");
      return loadSquares();
    },
  },
`,
      ),
    ],
  },
  proof: `
    assert(data.loadSquares().size === 2, "an export of the package");
    const help = await run("train", "--help");
    assert(help.includes("squares (a black and a white square)"), help);
    const grants = COMMANDS.train.grants({ values: { data: "squares" }, rest: [] });
    assert(grants.native === false, "no native code");
    const { settingsOf } = await load("cli/commands/train/settings.ts");
    const settings = settingsOf({ data: "squares" });
    assert(settings.flip === true, "mirrored by default");
    const { openData } = await load("cli/commands/train/data.ts");
    await using opened = await openData(settings, { usualSize: 32, warn() {} });
    assert(opened.text === "2 images of 1x8x8 in 2 classes", opened.text);
  `,
};
