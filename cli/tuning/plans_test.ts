import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { type Device, init, plansOf, shutdown } from "@dit/core/tensor";
import { CountingGpu } from "../../tensor/webgpu/counting_gpu_test_util.ts";
import { type KernelPlans, usualPlans } from "../../tensor/webgpu/plans.ts";
import { diskTest } from "../../tests/fixtures.ts";
import { readTuneFile, writeTuneFile } from "./file.ts";
import { tuneFile } from "./folder.ts";
import { cardOf, choosePlans, type PlanChoice } from "./plans.ts";

const NAME = "a GPU that only counts";

/** The built-in plans of the GPU, and two that could have been measured. */
function plansLike(device: Device): { usual: KernelPlans; some: KernelPlans; others: KernelPlans } {
  const usual = usualPlans((plansOf(device) as KernelPlans).traits);
  const code = { masked: true, unrolled: true, prefetch: false };
  const products = { "f32 deep.deep 64x64x64": { tile: "square", splits: 2, code } } as const;
  return {
    usual,
    some: { ...usual, products },
    others: { ...usual, traits: { ...usual.traits, cores: 9 } },
  };
}

/** Chooses plans on a GPU that was not used before; returns what is said, and what was tuned. */
async function choose(
  folder: string | null,
  choice: PlanChoice,
  tuned: KernelPlans | Error,
  run: (device: Device, said: readonly string[], tunings: number) => void | Promise<void>,
): Promise<void> {
  const device = await init({ device: "webgpu", gpu: new CountingGpu() });
  try {
    const said: string[] = [];
    let tunings = 0;
    await choosePlans(device, undefined, choice, {
      folder,
      say: (line) => void said.push(line),
      tune({ seconds }) {
        assert(seconds <= 30);
        tunings++;
        if (tuned instanceof Error) return Promise.reject(tuned);
        return Promise.resolve({ plans: tuned, rows: [], skipped: 0, cores: null });
      },
    });
    await run(device, said, tunings);
  } finally {
    await shutdown(device);
  }
}

const planned = await (async () => {
  const device = await init({ device: "webgpu", gpu: new CountingGpu() });
  const plans = plansLike(device);
  await shutdown(device);
  return plans;
})();

diskTest("a GPU is measured when it is first used, and never again", async (folder) => {
  const { usual, some, others } = planned;
  await choose(folder, { tune: false }, some, (device, said, tunings) => {
    assertEquals([plansOf(device), said, tunings], [usual, [], 0]);
  });
  await choose(folder, {}, some, (device, said, tunings) => {
    assertEquals([plansOf(device), said.length, tunings], [some, 1, 1]);
    assertStringIncludes(
      said[0]!,
      `kernels for ${NAME}, once, for up to 15 s (--no-tune leaves it`,
    );
  });
  for (const tune of [true, false]) {
    await choose(folder, { tune }, others, (device, said, tunings) => {
      assertEquals([plansOf(device), said, tunings], [some, [], 0]);
    });
  }
});

Deno.test("a GPU has plans of its own for each implementation of WebGPU", async () => {
  const device = await init({ device: "webgpu", gpu: new CountingGpu() });
  assertEquals([cardOf(device), cardOf(device, "deno")], [NAME, NAME]);
  assertEquals(cardOf(device, "dawn"), `${NAME}, dawn`);
  await shutdown(device);
  assertEquals(cardOf(await init({ device: "reference" })), null);
});

diskTest("a GPU that cannot be measured is used as it is", async (folder) => {
  const { usual } = planned;
  await choose(folder, {}, new Error("the device was lost"), (device, said) => {
    assertEquals([plansOf(device), said.length], [usual, 2]);
    assertStringIncludes(said[1]!, "the device was lost");
  });
});

Deno.test("without a folder to write to the built-in plans are used, as one line says", async () => {
  const { usual, some } = planned;
  for (const folder of [null, "/not/to/be/written/to"]) {
    await choose(folder, {}, some, (device, said, tunings) => {
      assertEquals([plansOf(device), said.length, tunings], [usual, 1, 0]);
      assertStringIncludes(said[0]!, `${folder ?? "the user's cache"} may not be written to`);
    });
  }
});

diskTest("a damaged file of plans is one line, and the built-in plans", async (folder) => {
  const { usual, some } = planned;
  const path = await writeTuneFile(folder, NAME, some);
  assertEquals(path, tuneFile(folder, NAME));
  const whole = await Deno.readTextFile(path);
  for (
    const [text, reason] of [
      [whole.slice(0, -20), "JSON"],
      ["null", 'expected the format "dit tune"'],
      [whole.replace('"version": 1', '"version": 99'), "expected version 1 but got 99"],
      [whole.replace("square", "round"), "tile: expected one of large"],
    ] as const
  ) {
    await Deno.writeTextFile(path, text);
    await choose(folder, {}, some, (device, said, tunings) => {
      assertEquals([plansOf(device), said.length, tunings], [usual, 1, 0]);
      assertStringIncludes(said[0]!, reason);
      assertStringIncludes(said[0]!, "the built-in plans are used");
    });
  }
  await Deno.writeTextFile(path, whole);
  assertEquals(await readTuneFile(folder, NAME), { kind: "plans", plans: some });
});

diskTest(
  "a run that is resumed keeps its plans, whatever is kept for the GPU now",
  async (folder) => {
    const { usual, some, others } = planned;
    await writeTuneFile(folder, NAME, others);
    const remembered = { plans: JSON.parse(JSON.stringify(some)) };
    await choose(folder, { remembered }, others, (device, said, tunings) => {
      assertEquals([plansOf(device), said, tunings], [some, [], 0]);
    });
    // One from before plans were remembered: it had the built-in ones.
    await choose(folder, { remembered: { plans: undefined } }, others, (device, said) => {
      assertEquals([plansOf(device), said], [usual, []]);
    });
    // One from a CPU, whose bits no GPU has.
    await choose(folder, { remembered: { plans: null } }, some, (device, said) => {
      assertEquals([plansOf(device), said], [others, []]);
    });
  },
);

Deno.test("a run that is resumed on a GPU that lacks something says what it uses instead", async () => {
  const { usual, some } = planned;
  const [name, plan] = Object.entries(some.products)[0]!;
  const gpu = new CountingGpu({ maxComputeWorkgroupStorageSize: 16384 });
  const device = await init({ device: "webgpu", gpu });
  const said: string[] = [];
  const say = (line: string) => void said.push(line);
  const products = { [name]: plan, other: { ...plan, tile: "huge" } };
  await choosePlans(device, undefined, { remembered: { plans: { ...usual, products } } }, { say });
  assertEquals(plansOf(device), some);
  assertEquals(said, [
    "this GPU cannot run 1 of the measured plans: its built-in ones are used for other",
  ]);
  await choosePlans(device, undefined, { remembered: { plans: { traits: 3 } } }, { say });
  assertStringIncludes(said[1]!, "the plans that the run began with cannot be read (traits:");
  await shutdown(device);
});
