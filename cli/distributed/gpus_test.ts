import { assertEquals, assertThrows } from "@std/assert";
import { CommandError } from "../shared/errors.ts";
import { assignGpus, type SeenGpus } from "./gpus.ts";
import { pciGpus } from "./vulkan.ts";

Deno.test("each rank of a machine gets a GPU of its own", () => {
  const seen = (machine: number, ...gpus: string[]): SeenGpus => ({ machine, gpus });
  assertEquals(assignGpus([seen(0, "a", "b"), seen(0, "a", "b")]), ["a", "b"]);
  assertEquals(assignGpus([seen(0, "a", "b"), seen(1, "a", "b")]), ["a", "a"]);
  // as schedulers give them
  assertEquals(assignGpus([seen(0, "a"), seen(0, "b")]), ["a", "b"]);
  assertEquals(assignGpus([seen(0), { machine: 0, gpus: null }]), [null, null]);
  assertThrows(
    () => assignGpus([seen(0, "a"), seen(0, "a")]),
    CommandError,
    "a machine has 2 ranks, which see 1 GPU: expected a GPU for each",
  );
});

Deno.test("pciGpus() gives places on the bus, or nothing", () => {
  for (const place of pciGpus() ?? []) assertEquals(/^pci-\w{4}_\w\w_\w\w_\w$/.test(place), true);
});
