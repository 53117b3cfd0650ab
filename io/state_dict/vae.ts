/**
 * Weights of the autoencoder (AutoencoderKL) under the names of latent diffusion (`ldm`), of diffusers,
 * and of diffusers before 0.18 (`diffusersOld`), which named the parts of its attention differently.
 */
import type { TensorSource } from "../../tensor/mod.ts";
import { countIndices, fillTemplate, templatePattern, unknownNames } from "./names.ts";
import { type Recipe, remapped, whole } from "./remap.ts";

/** A way to name the autoencoder's weights. */
export type VaeLayout = "ldm" | "diffusers" | "diffusersOld";

/** Layers by template; `{r}` counts the decoder's levels from the other end, levels - 1 - i. */
interface Row {
  readonly ldm: string;
  readonly diffusers: string;
  readonly diffusersOld?: string;
  /** The weight is [C, C, 1, 1], a 1x1 convolution, in LDM and [C, C] in diffusers. */
  readonly pointwise?: boolean;
}

const RESNET_LAYERS = [
  ["norm1", "norm1"],
  ["conv1", "conv1"],
  ["norm2", "norm2"],
  ["conv2", "conv2"],
  ["nin_shortcut", "conv_shortcut"],
] as const;

const ATTENTION_LAYERS = [
  ["norm", "group_norm", "group_norm"],
  ["q", "to_q", "query"],
  ["k", "to_k", "key"],
  ["v", "to_v", "value"],
  ["proj_out", "to_out.0", "proj_attn"],
] as const;

const same = (name: string): Row => ({ ldm: name, diffusers: name });

const resnet = (ldm: string, diffusers: string): Row[] =>
  RESNET_LAYERS.map(([a, b]) => ({ ldm: `${ldm}.${a}`, diffusers: `${diffusers}.${b}` }));

const middle = (side: string): Row[] => [
  ...resnet(`${side}.mid.block_1`, `${side}.mid_block.resnets.0`),
  ...ATTENTION_LAYERS.map(([ldm, diffusers, old]) => ({
    ldm: `${side}.mid.attn_1.${ldm}`,
    diffusers: `${side}.mid_block.attentions.0.${diffusers}`,
    diffusersOld: `${side}.mid_block.attentions.0.${old}`,
    pointwise: ldm !== "norm",
  })),
  ...resnet(`${side}.mid.block_2`, `${side}.mid_block.resnets.1`),
];

const ROWS: readonly Row[] = [
  same("encoder.conv_in"),
  ...resnet("encoder.down.{i}.block.{j}", "encoder.down_blocks.{i}.resnets.{j}"),
  {
    ldm: "encoder.down.{i}.downsample.conv",
    diffusers: "encoder.down_blocks.{i}.downsamplers.0.conv",
  },
  ...middle("encoder"),
  { ldm: "encoder.norm_out", diffusers: "encoder.conv_norm_out" },
  same("encoder.conv_out"),
  same("decoder.conv_in"),
  ...middle("decoder"),
  ...resnet("decoder.up.{i}.block.{j}", "decoder.up_blocks.{r}.resnets.{j}"),
  { ldm: "decoder.up.{i}.upsample.conv", diffusers: "decoder.up_blocks.{r}.upsamplers.0.conv" },
  { ldm: "decoder.norm_out", diffusers: "decoder.conv_norm_out" },
  same("decoder.conv_out"),
  same("quant_conv"),
  same("post_quant_conv"),
];

const LAYERS_OF_LEVELS = {
  ldm: templatePattern("decoder.up.{i}"),
  diffusers: templatePattern("decoder.up_blocks.{i}"),
} as const;

/**
 * Weights under the names of layout `from`, seen under those of `to`.
 *
 * @throws {FormatError} If `source` has names that `from` does not.
 */
export function convertVae(source: TensorSource, from: VaeLayout, to: VaeLayout): TensorSource {
  const levels = countIndices(source, LAYERS_OF_LEVELS[from === "ldm" ? "ldm" : "diffusers"]);
  const rows = ROWS.map((row) => ({
    pattern: templatePattern(nameIn(row, from)),
    target: nameIn(row, to),
    pointwise: row.pointwise ?? false,
  }));
  const recipes = new Map<string, Recipe>();
  const unknown: string[] = [];
  for (const name of source.keys()) {
    const row = rows.find(({ pattern }) => pattern.test(name));
    const groups = row?.pattern.exec(name)?.groups;
    if (!row || !groups || !/^(weight|bias)$/.test(groups.rest!)) {
      unknown.push(name);
      continue;
    }
    const indices = fromEitherEnd(groups, levels);
    const target = `${fillTemplate(row.target, indices)}.${groups.rest}`;
    recipes.set(target, whole(source, name, newShape(source, name, row.pointwise, to)));
  }
  if (unknown.length > 0) unknownNames(source, `an autoencoder in the layout ${from}`, unknown);
  return remapped(source, recipes);
}

function nameIn(row: Row, layout: VaeLayout): string {
  return layout === "diffusersOld" ? row.diffusersOld ?? row.diffusers : row[layout];
}

/** The numbers of a name, with a level known from one end known from the other as well. */
function fromEitherEnd(groups: Record<string, string>, levels: number): Record<string, number> {
  const { i, j, r } = groups;
  const level = i === undefined ? levels - 1 - Number(r) : Number(i);
  return { i: level, r: levels - 1 - level, j: Number(j) };
}

/** The shape in layout `to`, or undefined where it stays. */
function newShape(
  source: TensorSource,
  name: string,
  pointwise: boolean,
  to: VaeLayout,
): number[] | undefined {
  if (!pointwise || !name.endsWith(".weight")) return undefined;
  const [rows = 0, columns = 0] = source.info(name).shape;
  return to === "ldm" ? [rows, columns, 1, 1] : [rows, columns];
}
