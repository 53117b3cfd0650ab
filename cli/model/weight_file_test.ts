import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  FormatError,
  type HostTensor,
  hostTensor,
  Namespace,
  saveSafetensors,
  saveTorch,
  type TorchKey,
  type TorchValue,
} from "@dit/core/io";
import { diskTest } from "../../tests/fixtures.ts";
import { CommandError } from "../shared/errors.ts";
import { trainerHints } from "./trainer_options.ts";
import { diffusersFile, openWeightFile, type WeightSet } from "./weight_file.ts";

type Value = TorchValue<HostTensor>;

/** A state dict with the one name that identifies a DiT, and a value to recognise it by. */
const dict = (value: number, prefix = "") =>
  new Map([[`${prefix}x_embedder.proj.weight`, hostTensor(Float32Array.of(value))]]);

const map = (...entries: [TorchKey, Value][]) => new Map<TorchKey, Value>(entries);

diskTest("openWeightFile() finds the weights in what trainers save", async (folder) => {
  const path = `${folder}/x.ckpt`;
  const args = new Namespace(new Map([["image-size", 256]]));
  const none = map(["step", 1]);
  const cases: [Value, WeightSet, number, string][] = [
    [dict(1), "ema", 1, "PyTorch state dict"],
    [map(["model", dict(1)], ["ema", dict(2)]), "ema", 2, "PyTorch, ema"],
    [map(["model", dict(1)], ["ema", dict(2)]), "model", 1, "PyTorch, model"],
    [map(["ema", dict(2)], ["args", args]), "ema", 2, "train.py's checkpoint, ema weights"],
    [map(["model", dict(1)], ["opt", none]), "ema", 1, "PyTorch, model"],
    [map(["ema", dict(1)], ["opt", none]), "ema", 1, "PyTorch, ema"],
    [map(["state_dict", dict(1, "model.")], ["epoch", 1]), "ema", 1, "PyTorch, state_dict"],
    [map(["model_state_dict", dict(1)]), "ema", 1, "PyTorch, model_state_dict"],
    [
      map(["net", map(["ema_weights", dict(2)], ["raw", dict(1)])]),
      "ema",
      2,
      "PyTorch, net.ema_weights",
    ],
    [map(["net", map(["ema_weights", dict(2)], ["raw", dict(1)])]), "model", 1, "PyTorch, net.raw"],
  ];
  for (const [value, set, want, kind] of cases) {
    await saveTorch(path, value);
    using file = await openWeightFile(path, "dit", set);
    const read = await file.source.read("x_embedder.proj.weight");
    assertEquals([new Float32Array(read.data.buffer)[0], file.kind], [want, kind]);
  }
  await saveTorch(path, map(["a", dict(1)], ["b", dict(2)]));
  await assertRejects(() => openWeightFile(path, "dit"), FormatError, "those of several: a, b");
  // what is asked for is not replaced by something else
  await saveTorch(path, map(["ema", map(["w", 1])], ["model", dict(1)]));
  await assertRejects(() => openWeightFile(path, "dit"), FormatError, "value under ema");
});

diskTest("openWeightFile() says what it did to names, whatever the metadata", async (folder) => {
  const path = `${folder}/x.safetensors`;
  const weights = new Map([
    ...dict(1, "module."),
    ["vae.w", hostTensor(Float32Array.of(2))] as const,
  ]);
  for (const format of ["pt", "np", "mlx", "flax"]) {
    await saveSafetensors(path, weights, [["format", format]]);
    using file = await openWeightFile(path, "dit");
    assertEquals(file.source.keys(), ["x_embedder.proj.weight"]);
    const note = 'names without their prefix "module."; 1 other tensor left out (vae.)';
    assertEquals([file.note, file.kind], [note, "safetensors"]);
  }
  await saveSafetensors(path, dict(1));
  using file = await openWeightFile(path, "dit");
  assertEquals([file.note, file.metadata.size], [null, 0]);
});

diskTest("diffusersFile() prefers whole weights, and safetensors", async (folder) => {
  await assertRejects(() => diffusersFile(folder), CommandError, "found none");
  const names = [
    "diffusion_pytorch_model.non_ema.bin",
    "diffusion_pytorch_model.fp16.bin",
    "diffusion_pytorch_model.fp16.safetensors",
    "diffusion_pytorch_model.bin.index.json",
    "diffusion_pytorch_model.bin",
    "diffusion_pytorch_model.safetensors.index.json",
    "diffusion_pytorch_model.safetensors",
  ];
  for (const name of names) {
    await Deno.writeTextFile(`${folder}/${name}`, "");
    assertEquals(await diffusersFile(folder), `${folder}/${name}`);
  }
  const indices = [
    "diffusion_pytorch_model.safetensors.index.fp16.json",
    "diffusion_pytorch_model.safetensors.fp16.index.json",
    "diffusion_pytorch_model.fp16.safetensors.index.json",
  ];
  for (const name of indices) {
    await Deno.mkdir(`${folder}/${name}-folder`);
    await Deno.writeTextFile(`${folder}/${name}-folder/${name}`, "");
    const shard = "diffusion_pytorch_model.fp16-00001-of-00002.safetensors";
    await Deno.writeTextFile(`${folder}/${name}-folder/${shard}`, "");
    assertEquals(
      await diffusersFile(`${folder}/${name}-folder`),
      `${folder}/${name}-folder/${name}`,
    );
  }
});

Deno.test("trainerHints() takes SiT's flow, and refuses others by what their options say", () => {
  const hints = (options: Record<string, unknown>) =>
    trainerHints(new Map(Object.entries(options)), "x.pt");
  const flows: Record<string, unknown>[] = [
    { model: "SiT-XL/2" },
    { path_type: "GVP", prediction: "velocity" },
    { path_type: "Linear", prediction: "score" },
    { path_type: "linear", prediction: "v" }, // of REPA, where t = 1 is noise
    { prediction: "score" },
    { prediction_type: "flow_prediction" },
    { flow_matching: true },
  ];
  for (const options of flows) {
    assertThrows(
      () => hints(options),
      CommandError,
      "x.pt: expected a model of Gaussian diffusion",
    );
  }
  assertThrows(() => hints(flows[1]!), CommandError, "say path_type=GVP, prediction=velocity");
  const sit = { model: "SiT-B/2", path_type: "Linear", prediction: "velocity", vae: "mse" };
  assertEquals(hints(sit).diffusion, { process: "flow", objective: "v" });
  assertEquals(hints({}), {});
  assertThrows(() => hints({ noise_schedule: "sigmoid" }), CommandError, 'but got "sigmoid"');
  assertEquals(hints({ noise_schedule: "cosine", num_heads: 8, objective: "pred_v" }), {
    numClasses: undefined,
    numHeads: 8,
    diffusion: { objective: "v", noiseSchedule: "squaredcos_cap_v2" },
  });
  const { latents, numClasses, diffusion } = hints({
    model: "DiT-XL/2",
    vae: "ema",
    num_classes: 10,
    flow_matching: false,
    prediction_type: "v_prediction",
    noise_schedule: "squaredcos_cap_v2",
  });
  assertEquals([latents?.vae, numClasses], ["ema", 10]);
  assertEquals(diffusion, { objective: "v", noiseSchedule: "squaredcos_cap_v2" });
  assertEquals(hints({ lr: 1, predict_xstart: true }), {
    numClasses: undefined,
    diffusion: { objective: "xstart" },
  });
});

diskTest(
  "options in groups, as LightningDiT saves its own, say what the model is",
  async (folder) => {
    const path = `${folder}/x.pt`;
    const config = map(
      ["ckpt-path", "y"],
      ["model", map(["model_type", "LightningDiT-XL/1"], ["use_rope", true])],
      ["data", map(["num_classes", 10], ["ckpt_path", "z"])],
      ["vae", map(["model_name", "vavae_f16d32"])],
      ["transport", map(["path_type", "Linear"], ["prediction", "velocity"])],
    );
    await saveTorch(path, map(["ema", dict(1)], ["config", config]));
    using file = await openWeightFile(path, "dit");
    assertEquals(file.options.get("ckpt_path"), "y");
    const { diffusion, numClasses, latents } = trainerHints(file.options, path);
    assertEquals([diffusion, numClasses], [{ process: "flow", objective: "v" }, 10]);
    assertEquals(latents, undefined);
  },
);

diskTest("openWeightFile() opens every index that diffusersFile() finds", async (folder) => {
  const shard = "diffusion_pytorch_model.fp16-00001-of-00001.safetensors";
  const name = "x_embedder.proj.weight";
  await saveSafetensors(`${folder}/${shard}`, dict(1));
  const index = `${folder}/diffusion_pytorch_model.safetensors.index.fp16.json`;
  await Deno.writeTextFile(index, JSON.stringify({ weight_map: { [name]: shard } }));
  using file = await openWeightFile(await diffusersFile(folder), "dit");
  assertEquals([file.path, file.kind, file.source.keys()], [index, "shards", [name]]);
});
