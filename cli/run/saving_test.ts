import { assertEquals } from "@std/assert";
import { DIT } from "@dit/core/pipeline";
import { type Device, init, plansOf, shutdown, usePlans } from "@dit/core/tensor";
import { CountingGpu } from "../../tensor/webgpu/counting_gpu_test_util.ts";
import { SMALL } from "../../tests/commands.ts";
import { diskTest } from "../../tests/fixtures.ts";
import { choosePlans } from "../tuning/plans.ts";
import { openCheckpoint } from "./checkpoint.ts";
import { rememberedPlans, saveTrainee } from "./saving.ts";
import type { Trainee } from "./trainee.ts";

/** As much of a trainee as a checkpoint takes. */
const TRAINEE = {
  kind: { trainee: "dit" },
  step: 3,
  config: SMALL,
  settings: {},
  sections: () => ({}),
} as unknown as Trainee;

const POSITION = { epoch: 0, step: 3 };

/** The plans that a run on this device begins with again. */
async function resumed(path: string, on: () => Promise<Device>): Promise<unknown> {
  using checkpoint = await openCheckpoint(path, DIT);
  const device = await on();
  const remembered = rememberedPlans(checkpoint.header.training!);
  await choosePlans(device, undefined, { remembered }, {
    folder: ".tmp",
    tune: () => Promise.reject(new Error("nothing is measured")),
    say: () => {},
  });
  const plans = plansOf(device);
  await shutdown(device);
  return plans;
}

diskTest(
  "a checkpoint remembers what the kernels of its device were planned by",
  async (folder) => {
    const gpu = () => init({ device: "webgpu", gpu: new CountingGpu() });
    const device = await gpu();
    const begun = { ...plansOf(device), traits: { cores: 7, writtenOut: true, readsAhead: false } };
    await usePlans(begun, device);
    const path = `${folder}/0000003.safetensors`;
    await saveTrainee(path, TRAINEE, { position: POSITION, state: {} });
    await shutdown(device);
    assertEquals(await resumed(path, gpu), begun);
    assertEquals(await resumed(path, () => init({ device: "reference" })), null);
  },
);

diskTest(
  "a checkpoint from a device without plans says that there were none",
  async (folder) => {
    const device = await init({ device: "reference" });
    const path = `${folder}/0000003.safetensors`;
    await saveTrainee(path, TRAINEE, { position: POSITION, state: {} });
    await shutdown(device);
    using checkpoint = await openCheckpoint(path, DIT);
    assertEquals(rememberedPlans(checkpoint.header.training!), { plans: null });
  },
);
