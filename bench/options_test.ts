import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { granted, tempDir, unreadable } from "../tests/fixtures.ts";
import { toFileUrl } from "@std/path";
import { Report } from "./measure.ts";
import { run } from "./options.ts";
import {
  endingOf,
  endOf,
  type Measured,
  type Prepared,
  type PrepareJob,
  runJob,
} from "./options/job.ts";
import { trainArguments } from "./options/row.ts";
import { COMBINATIONS, nameOf, type OptionsRow, optionsTable, rowOf } from "./options/table.ts";

const TINY = { tiny: true, only: undefined, seconds: Infinity };
const MEASURED: Measured = {
  stepsPerSecond: 0.4321,
  tensorBytes: 3e9,
  reservedBytes: 5e9,
  residentBytes: 7e9,
  waiting: 0,
  loss: 1,
};

/** Registers a test that starts processes and writes. */
function processTest(name: string, run: (folder: string) => Promise<void>): void {
  const isAllowed = !unreadable && granted({ name: "run", command: "deno" }) &&
    granted({ name: "write", path: new URL("../.tmp/", import.meta.url) });
  Deno.test({
    name: isAllowed ? name : `${name} (needs --allow-read, --allow-write and --allow-run=deno)`,
    ignore: !isAllowed,
    fn: async () => {
      await using folder = await tempDir();
      await run(folder.path);
    },
  });
}

processTest("each option saves the memory that it is there to save", async (folder) => {
  const only = ["none", "features", "checkpointing+features", "fp16+features"];
  const report = new Report();
  const data = toFileUrl(`${folder}/data/`);
  await run(report, { ...TINY, only }, data);
  const rows = report.facts["rows"] as OptionsRow[];
  assertEquals(rows.map(nameOf), only);
  const [none, features, checkpointing, fp16] = rows.map(({ tensorBytes }) => tensorBytes!);
  assert(features! < 0.8 * none!, `${features} of ${none} bytes without an autoencoder`);
  assert(checkpointing! < 0.8 * features!, `${checkpointing} of ${features} bytes`);
  assert(fp16! < 0.9 * features!, `${fp16} of ${features} bytes in half precision`);
  // the same steps, computed in another way
  const losses = rows.map(({ loss }) => loss!);
  assertEquals(losses[2], losses[1]);
  assert(Math.abs(losses[3]! - losses[1]!) < 0.05 * losses[1]!, losses.join());
  for (const { stepsPerSecond, memoryBytes, note } of rows) {
    assert(stepsPerSecond! > 0 && memoryBytes! > 2 ** 20);
    assertEquals(note, undefined);
  }
  await assertRejects(() => Deno.stat(data), Deno.errors.NotFound); // images go at the end
});

processTest("a model that does not fit is a row that says so", async (folder) => {
  const job: PrepareJob = {
    what: "prepare",
    asked: { device: "wasm", model: "DiT-Mini/2", batchSize: 2, imageSize: 16, steps: 1 },
    folder,
    tiny: true,
    features: true,
  };
  const prepared = await runJob<Prepared>(job);
  assert(prepared.how === "done", JSON.stringify(prepared));
  const { setup } = prepared.result;
  const measure = (...others: string[]) => {
    const options = COMBINATIONS.at(-1)!;
    const row = { what: "row", setup: { ...setup, others }, options, folder } as const;
    return runJob<Measured>(row);
  };
  const large = await measure("--hidden-size", "16384", "--depth", "96");
  assert(large.how === "out of memory", JSON.stringify(large));
  assertStringIncludes(large.reason, "wasm can hold");
  const wrong = await measure("--hidden-size", "30");
  assert(wrong.how === "failed", JSON.stringify(wrong));
  assertStringIncludes(wrong.reason, "--hidden-size");
});

Deno.test("what ends a process is told apart", () => {
  const killed = endOf({ code: 137, signal: "SIGKILL" }, "");
  assertEquals(killed, { how: "out of memory", reason: "the system ended the process" });
  assertEquals(endOf({ code: 133, signal: null }, "V8: Out of memory").how, "out of memory");
  assertEquals(endOf({ code: 1, signal: null }, "TypeError: x"), {
    how: "failed",
    reason: "TypeError: x",
  });
  const cause = Object.assign(new Error("no more"), { name: "OutOfMemoryError" });
  assertEquals(endingOf(new Error("step 1", { cause })), {
    how: "out of memory",
    reason: "no more",
  });
  assertEquals(endingOf(new Error("step 1")), { how: "failed", reason: "step 1" });
});

Deno.test("the table is the original's", () => {
  const [none, checkpointing] = COMBINATIONS;
  const rows = [
    rowOf(none!, "webgpu", { how: "out of memory", reason: "80 GB: too much" }),
    rowOf(checkpointing!, "webgpu", { how: "done", result: MEASURED }),
    rowOf(checkpointing!, "wasm", { how: "done", result: { ...MEASURED, stepsPerSecond: 0.0123 } }),
    rowOf(none!, "wasm", { how: "no time left", reason: "" }),
  ];
  const cells = optionsTable(rows).split("\n").map((line) =>
    line.split("|").slice(1, -1).map((cell) => cell.trim())
  );
  assertEquals(cells, [
    [
      "gradient checkpointing",
      "mixed precision training",
      "feature pre-extraction",
      "training speed",
      "memory",
    ],
    cells[1]!,
    ["❌", "❌", "❌", "-", "out of memory"],
    ["✔", "❌", "❌", "0.43 steps/sec", "5000 MB"],
    ["✔", "❌", "❌", "0.012 steps/sec", "7000 MB"],
    ["❌", "❌", "❌", "-", "no time left"],
  ]);
  assert(cells[1]!.every((cell) => /^:-+:$/.test(cell)), "expected centred columns");
  assertEquals(rows[0]!.note, "out of memory: 80 GB: too much");
});

Deno.test("all combinations are measured", () => {
  assertEquals(new Set(COMBINATIONS.map(nameOf)).size, 8);
});

Deno.test("a row without features encodes images, and one with them has no autoencoder", () => {
  const setup = {
    model: "DiT-S/2",
    batchSize: 8,
    imageSize: 128,
    device: "wasm",
    warmup: 1,
    steps: 4,
    vae: "ema",
    others: [],
  } as const;
  const [none, all] = [COMBINATIONS[0]!, COMBINATIONS.at(-1)!].map((options) =>
    trainArguments(setup, options, "data").join(" ")
  );
  assertStringIncludes(none!, "images --image-size 128 --vae ema");
  assert(!none!.includes("--grad-checkpoint") && !none!.includes("--mixed-precision"));
  assert(all!.includes("--grad-checkpoint --mixed-precision fp16") && !all!.includes("--vae"));
});
