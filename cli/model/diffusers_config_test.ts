import { assertEquals, assertThrows } from "@std/assert";
import { CommandError } from "../shared/errors.ts";
import {
  classLabelsOf,
  indexConfig,
  processOf,
  schedulerConfig,
  transformerConfig,
  transformerHints,
} from "./diffusers_config.ts";
import { SMALL } from "../../tests/commands.ts";

Deno.test("a scheduler's configuration gives its process, and other processes are refused", () => {
  const process = {
    objective: "v",
    noiseSchedule: "squaredcos_cap_v2",
    diffusionSteps: 500,
    minSnrGamma: null,
  } as const;
  const { minSnrGamma: _, ...want } = process;
  assertEquals(processOf(schedulerConfig(process), "x.json"), want);
  const refused = (change: Record<string, unknown>, message: string) =>
    assertThrows(
      () => processOf({ ...schedulerConfig(process), ...change }, "x.json"),
      CommandError,
      message,
    );
  refused({ _class_name: "FlowMatchEulerDiscreteScheduler" }, "a scheduler of Gaussian diffusion");
  refused({ _class_name: "EDMEulerScheduler" }, "x.json: expected _class_name");
  refused({ rescale_betas_zero_snr: true }, "expected rescale_betas_zero_snr to be false");
  refused({ prediction_type: "flow_prediction" }, "expected prediction_type");
  refused({ num_train_timesteps: -5 }, "expected num_train_timesteps to be a whole number");
});

Deno.test("id2label gives every name of each class, and gets them back", () => {
  const labels = classLabelsOf({ "1": "tench, Tinca tinca", "3": "crane", "x": "none", "0": "" });
  assertEquals(labels, [["0"], ["tench", "Tinca tinca"], ["2"], ["crane"]]);
  const { id2label } = indexConfig({ ...SMALL, dit: { ...SMALL.dit, numClasses: 5 } }, labels);
  assertEquals(id2label, {
    "0": "0",
    "1": "tench, Tinca tinca",
    "2": "2",
    "3": "crane",
    "4": "4",
  });
  assertEquals(classLabelsOf(undefined), []);
});

Deno.test("a transformer's configuration is read back, and what is no DiT's is refused", () => {
  const config = transformerConfig(SMALL);
  const { numHeads, numClasses, inputSize } = SMALL.dit;
  assertEquals(transformerHints(config, "c.json"), { numHeads, numClasses, inputSize });
  for (
    const [name, value] of [
      ["_class_name", "UNet2DConditionModel"],
      ["activation_fn", "geglu"],
      ["norm_type", "ada_norm_single"],
      ["num_attention_heads", "2"],
      ["num_attention_heads", 0],
      ["sample_size", [4, 4]],
    ] as const
  ) {
    assertThrows(
      () => transformerHints({ ...config, [name]: value }, "c.json"),
      CommandError,
      `c.json: expected ${name} to be`,
    );
  }
});
