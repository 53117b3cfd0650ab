import { assertEquals } from "@std/assert";
import { init, memory, scope, tensor } from "@dit/core";
import { StepRecords } from "./records.ts";

Deno.test("records of more steps than a page has room for come back as they were", async () => {
  const device = await init({ device: "wasm" });
  const before = memory(device).tensors;
  const steps = Array.from({ length: 150 }, (_, i) => i + 1);
  {
    using records = new StepRecords();
    for (const step of steps) {
      using _ = scope();
      records.addLoss(tensor([step], []), { early: tensor([step / 2], []) });
      records.endStep(step, tensor([-step], []), 0.5);
    }
    assertEquals(records.length, steps.length);
    const want = steps.map((step) => ({
      step,
      lr: 0.5,
      loss: step,
      early: step / 2,
      gradNorm: -step,
    }));
    assertEquals(await records.take(), want);
    assertEquals(records.length, 0);
  }
  assertEquals(memory(device).tensors, before);
});
