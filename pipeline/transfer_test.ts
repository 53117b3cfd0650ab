/** Weights of one model as the start of another. */
import { assertEquals, assertRejects } from "@std/assert";
import { type HostTensor, hostTensor, mapSource, toFloat32 } from "@dit/core/io";
import { Generator, init } from "@dit/core/tensor";
import { SMALL, smallWeights } from "../tests/commands.ts";
import { buildModel, type ModelConfig, transferWeights } from "./mod.ts";

const NAMES = ["a", "b", "c", "d", "e", "f"];
const FROM: ModelConfig = {
  ...SMALL,
  classNames: NAMES,
  dit: { ...SMALL.dit, hiddenSize: 32, numHeads: 2 },
};

/** Rows that are said, and the values of some weights before and after. */
async function transferred(
  config: ModelConfig,
  from: ModelConfig = FROM,
  changed: ReadonlyMap<string, HostTensor> = new Map(),
) {
  const weights = new Map([...await smallWeights(from), ...changed]); // on the reference device
  await init({ device: "wasm" });
  const source = mapSource(weights, "FILE");
  const fresh = () => buildModel(config, { generator: new Generator(5) }).model;
  using before = fresh();
  using model = fresh();
  const rows = await transferWeights(model, config, { config: from, source });
  const values = async (of: typeof model) => {
    const found = new Map<string, number[]>();
    for (const [name, t] of of.stateDict()) found.set(name, [...await t.data()]);
    return found;
  };
  const given = (name: string) => [...toFloat32(weights.get(name)!)];
  return { rows, now: await values(model), fresh: await values(before), given };
}

const withDit = (
  dit: Partial<ModelConfig["dit"]>,
  more: Partial<ModelConfig> = {},
): ModelConfig => ({
  ...FROM,
  ...more,
  dit: { ...FROM.dit, ...dit },
});

Deno.test("a model like the other takes all of its weights", async () => {
  const { rows, now, given } = await transferred(FROM);
  assertEquals(rows.map(({ how, note }) => [how, note]), [["taken", ""]]);
  assertEquals(rows[0]!.names.includes(`blocks.${FROM.dit.depth > 1 ? "0-1" : "0"}`), true);
  for (const [name, values] of now) {
    if (name !== "pos_embed") assertEquals(values, given(name), name);
  }
});

Deno.test("rows of classes go by their names, and that of no class moves", async () => {
  const classNames = ["c", "new", "a"];
  const config = withDit({ numClasses: 3 }, { classNames, nullClass: 3 });
  const { rows, now, fresh, given } = await transferred(config);
  const table = "y_embedder.embedding_table.weight";
  assertEquals(rows[1], {
    how: "in part",
    names: [table],
    note: "2 of 3 classes by their names, 1 anew; that of no class moved from 6 to 3",
  });
  const d = FROM.dit.hiddenSize;
  const row = (values: number[], i: number) => values.slice(i * d, (i + 1) * d);
  assertEquals(row(now.get(table)!, 0), row(given(table), 2));
  assertEquals(row(now.get(table)!, 1), row(fresh.get(table)!, 1));
  assertEquals(row(now.get(table)!, 2), row(given(table), 0));
  assertEquals(row(now.get(table)!, 3), row(given(table), 6));
});

Deno.test("classes of one name are taken in their order, and which they are is said", async () => {
  const there = { ...FROM, classNames: ["crane", "a", "crane", "b", "c", "d"] };
  const same = await transferred(there, there);
  assertEquals(same.rows.map(({ how, note }) => [how, note]), [["taken", ""]]);
  const config = withDit({ numClasses: 2 }, { classNames: ["b", "crane"], nullClass: 2 });
  const { rows, now, given } = await transferred(config, there);
  assertEquals(
    rows[1]!.note,
    "2 of 2 classes by their names, 0 anew; that of no class moved from 6 to 2; " +
      "2 classes there and 1 here are called crane, taken in their order",
  );
  const table = "y_embedder.embedding_table.weight";
  const d = FROM.dit.hiddenSize;
  assertEquals(now.get(table)!.slice(d, 2 * d), given(table).slice(0, d));
});

Deno.test("a row of no class that the other model lacks starts anew, which is said", async () => {
  const other = withDit({ classDropoutProb: 0 }, { nullClass: null });
  const { rows, now, fresh, given } = await transferred(FROM, other);
  assertEquals(rows[1]!.note, "6 of 6 classes by their names, 0 anew; that of no class anew");
  const table = "y_embedder.embedding_table.weight";
  const length = given(table).length;
  assertEquals(now.get(table)!.slice(0, length), given(table));
  assertEquals(now.get(table)!.slice(length), fresh.get(table)!.slice(length));
});

Deno.test("positions that were learned are taken, but for those of another size", async () => {
  const name = "pos_embed";
  const { hiddenSize, inputSize, patchSize } = FROM.dit;
  const shape = [1, (inputSize / patchSize) ** 2, hiddenSize];
  const values = Float32Array.from({ length: shape[1]! * hiddenSize }, (_, i) => Math.sin(i) / 2);
  const learned = new Map([[name, hostTensor(values, shape)]]);
  const { rows, now } = await transferred(FROM, FROM, learned);
  assertEquals(rows[0], { how: "taken", names: [name], note: "learned" });
  assertEquals(now.get(name), [...values]);
  const wide = withDit({ inputSize: 2 * inputSize });
  const { rows: anew, now: fixed, fresh } = await transferred(wide, FROM, learned);
  assertEquals(anew.at(-1)!.note, "for 8x8 tokens");
  assertEquals(fixed.get(name), fresh.get(name));
});

Deno.test("other classes by their numbers are said to be", async () => {
  const classNames = ["u", "v", "w", "x", "y", "z"];
  const { rows } = await transferred({ ...FROM, classNames });
  const note = "by the numbers of classes, as none has the same name";
  const names = ["y_embedder.embedding_table.weight"];
  assertEquals(rows.at(-1), { how: "taken", names, note });
});

Deno.test("classes without names go by their numbers where there are as many", async () => {
  const unnamed = { ...FROM, classNames: [] };
  const { rows } = await transferred(
    { ...FROM, classNames: ["u", "v", "w", "x", "y", "z"] },
    unnamed,
  );
  assertEquals(rows.map(({ how }) => how), ["taken"]);
  const fewer = withDit({ numClasses: 2 }, { classNames: ["u", "v"], nullClass: 2 });
  const { rows: anew } = await transferred(fewer, unnamed);
  assertEquals(
    anew[1]!.note,
    "0 of 2 classes by their names, 2 anew; that of no class moved from 6 to 2",
  );
});

Deno.test("blocks, patches, sizes and switches that one model alone has are said", async () => {
  const { depth, patchSize, inputSize } = FROM.dit;
  const config = withDit({
    depth: depth + 2,
    inputSize: inputSize * 2,
    patchSize: patchSize * 2,
    qkNorm: true,
    mlp: "swiglu",
  });
  const { rows, now, fresh } = await transferred(config);
  const said = rows.flatMap(({ how, names }) => names.map((name) => `${how} ${name}`));
  for (
    const expected of [
      "anew x_embedder.proj.weight",
      "anew final_layer.linear.weight",
      `left out blocks.${depth > 1 ? `0-${depth - 1}` : 0}.mlp`,
      "taken t_embedder",
      "taken pos_embed",
    ]
  ) assertEquals(said.includes(expected), true, `${expected}: ${said.join("; ")}`);
  const last = `blocks.${depth + 1}.attn.qkv.weight`;
  assertEquals(now.get(last), fresh.get(last));
});

Deno.test("what is said of part of a block is not said of all of it", async () => {
  const config = withDit({ norm: "rmsNorm", mlp: "swiglu", qkNorm: true });
  const { rows } = await transferred(config);
  const named = (part: string) => `blocks.0-${FROM.dit.depth - 1}.${part}`;
  assertEquals(rows, [
    {
      how: "taken",
      names: [
        "pos_embed",
        "x_embedder",
        "t_embedder",
        "y_embedder",
        "final_layer.linear",
        "final_layer.adaLN_modulation",
        ...["attn.qkv", "attn.proj", "adaLN_modulation"].map(named),
      ],
      note: "",
    },
    {
      how: "anew",
      names: [
        "final_layer.norm_final",
        ...["norm1", "attn.q_norm", "attn.k_norm", "norm2", "mlp"].map(named),
      ],
      note: "not in it",
    },
    { how: "left out", names: [named("mlp")], note: "not in this model" },
  ]);
});

Deno.test("a last layer with the variance gives the rest to one without it, and the other way", async () => {
  const [plain, learned] = [false, true].map((learnSigma) => withDit({ learnSigma }));
  const { now, given, rows } = await transferred(plain!, learned);
  const { inChannels: c, patchSize: p } = FROM.dit;
  const [mine, theirs] = [now.get("final_layer.linear.bias")!, given("final_layer.linear.bias")];
  assertEquals([mine.length, theirs.length], [p * p * c, 2 * p * p * c]);
  mine.forEach((value, i) => {
    const [pixel, channel] = [Math.floor(i / c), i % c];
    assertEquals(value, theirs[pixel * 2 * c + channel]);
  });
  assertEquals(rows[1]!.note, "without the variance");
  const back = await transferred(learned!, plain);
  assertEquals(back.rows[1]!.note, "the variance anew");
  assertEquals(
    back.now.get("final_layer.linear.bias")!.filter((_, i) => i % (2 * c) < c).length,
    p * p * c,
  );
});

Deno.test("models of other widths are refused with both names", async () => {
  const wide = withDit({ hiddenSize: FROM.dit.hiddenSize * 2 }, { name: "wide" });
  await assertRejects(
    () => transferred(wide),
    RangeError,
    `as wide has, but those of ${FROM.name} in FILE have ${FROM.dit.hiddenSize}`,
  );
});
