import { assertEquals, assertRejects } from "@std/assert";
import { mapSource } from "@dit/core/io";
import type { ModelConfig } from "@dit/core/pipeline";
import { commandTest, SMALL, smallWeights } from "../../../tests/commands.ts";
import { CommandError, UsageError } from "../../shared/errors.ts";
import { openWeights, type Weights } from "../../model/weights.ts";
import { exportDiffusers } from "./diffusers.ts";
import { exportOriginal } from "./original.ts";

const FLOW: ModelConfig = {
  ...SMALL,
  diffusion: { ...SMALL.diffusion, process: "flow", objective: "v", timeShift: 2 },
};

async function weightsOf(config: ModelConfig): Promise<Weights> {
  return {
    path: "run",
    kind: "test",
    config,
    source: mapSource(await smallWeights(config), "run"),
    note: null,
    assumptions: [],
    classLabels: [],
    vaePath: null,
    knowsLatents: true,
    [Symbol.dispose]: () => {},
  };
}

commandTest("models with switches are refused, as no other program has them", async (folder) => {
  using weights = await weightsOf({ ...SMALL, dit: { ...SMALL.dit, norm: "rmsNorm", rope: true } });
  const out = `${folder}/out.pt`;
  await assertRejects(
    () => exportOriginal(weights, out),
    CommandError,
    "got one with norm rmsNorm",
  );
  await assertRejects(
    () => exportDiffusers(weights, `${folder}/out`, "none"),
    CommandError,
    "no counterpart of norm rmsNorm",
  );
  assertEquals(Array.from(Deno.readDirSync(folder)), []);
});

commandTest(
  "a flow is written as SiT's trainer does, and is known again for one",
  async (folder) => {
    using weights = await weightsOf(FLOW);
    const notes = await exportOriginal(weights, `${folder}/model.pt`);
    assertEquals(notes.slice(2), ["its times are shifted by 2, which SiT's are not"]);
    await assertRejects(
      () => openWeights(`${folder}/model.pt`, "ema", { process: "gaussian" }),
      UsageError,
      `--process: expected flow, which ${folder}/model.pt says itself, but got gaussian`,
    );
    using again = await openWeights(`${folder}/model.pt`);
    assertEquals(again.note, "a flow, as its options say: path_type=Linear, prediction=velocity");
    const { diffusion, dit, nullClass, latents } = again.config;
    assertEquals([diffusion.process, diffusion.objective, nullClass], ["flow", "v", 6]);
    assertEquals([dit.numClasses, dit.numHeads, latents], [6, 4, null]);
    assertEquals(
      (await again.source.read("pos_embed")).data,
      (await weights.source.read("pos_embed")).data,
    );
    const inSafetensors = await exportOriginal(weights, `${folder}/model.safetensors`);
    assertEquals(
      inSafetensors.at(-1),
      "the file does not say that it is a flow: --process flow does",
    );
    const ofX = { ...FLOW, diffusion: { ...FLOW.diffusion, objective: "xstart" as const } };
    using predictsX = await weightsOf(ofX);
    const notesOfX = await exportOriginal(predictsX, `${folder}/x.pt`);
    assertEquals(notesOfX[2], "it predicts xstart, which SiT cannot sample");
  },
);

commandTest("diffusers' pipeline does not sample a flow", async (folder) => {
  using weights = await weightsOf(FLOW);
  const run = () => exportDiffusers(weights, folder, "none");
  await assertRejects(
    run,
    CommandError,
    "run: expected a model of the process gaussian but got flow",
  );
});
