/** How a DiT starts: rules, bounds and statistics of every weight, positions, sizes of all models. */
import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { createDiT, DiT, DIT_CONFIGS, type DiTName, sinCosPositions } from "../dit/mod.ts";
import { toFloat64 } from "../io/mod.ts";
import { withoutInit } from "../nn/mod.ts";
import {
  type Device,
  Generator,
  MemoryLedger,
  randn,
  scope,
  setDevice,
  tensor,
} from "../tensor/mod.ts";
import { assertAbsolute, type DiTCase, Golden, goldenJson, goldenOnDevices } from "./goldens.ts";

interface Init {
  config: Omit<DiTCase["config"], "mlp_ratio" | "class_dropout_prob" | "learn_sigma">;
  stats: Record<string, {
    shape: number[];
    requires_grad: boolean;
    rule: string;
    bound?: number;
    expected_std?: number;
  }>;
  models: Record<DiTName, {
    depth: number;
    hidden_size: number;
    num_heads: number;
    patch_size: number;
    params_input32_1000classes: number;
  }>;
  state_dict_keys: string[];
}

const [INFO, TENSORS] = ["init/init.json", "init/init.safetensors"] as const;

const SMALL = { inputSize: 8, hiddenSize: 64, depth: 2, numHeads: 4, numClasses: 10 };

function spread(values: ArrayLike<number>): { mean: number; std: number; largest: number } {
  let [sum, squares, largest] = [0, 0, 0];
  for (let i = 0; i < values.length; i++) {
    sum += values[i]!;
    squares += values[i]! ** 2;
    largest = Math.max(largest, Math.abs(values[i]!));
  }
  const mean = sum / values.length;
  return { mean, std: Math.sqrt(squares / values.length - mean ** 2), largest };
}

goldenOnDevices("a new DiT starts by the original's rules", [INFO, TENSORS], async () => {
  const info = await goldenJson<Init>(INFO);
  const golden = await Golden.load(TENSORS);
  using model = new DiT(SMALL, { generator: new Generator(1) });
  assertEquals([...model.stateDict().keys()], info.state_dict_keys);
  for (const [key, parameter] of model.namedParameters()) {
    const { shape, rule, bound, expected_std, requires_grad } = info.stats[key]!;
    assertEquals(parameter.shape, shape, key);
    assertEquals(parameter.requiresGrad, requires_grad, key);
    const values = await parameter.data();
    const { mean, std, largest } = spread(values);
    if (key === "pos_embed") {
      assertAbsolute(key, values, golden.floats("pos_embed"), 1e-7);
    } else if (rule === "zeros") {
      assertEquals(largest, 0, key);
    } else {
      const error = 5 * expected_std! / Math.sqrt(parameter.size); // five standard errors
      assertAlmostEquals(mean, 0, error, key);
      assertAlmostEquals(std, expected_std!, error, key);
      if (bound !== undefined) assert(largest <= bound && largest > 0.95 * bound, key);
      else assert(largest < 6 * expected_std!, key);
    }
  }
});

goldenOnDevices("a new DiT says 0 everywhere", [INFO], async () => {
  using s = scope();
  const model = new DiT(SMALL);
  const y = tensor([3, 10], [2], { dtype: "i32" });
  const out = model.forward(randn([2, 4, 8, 8]), tensor([0, 999]), y);
  assertEquals(out.shape, [2, 8, 8, 8]);
  const read = out.data();
  model.dispose();
  s[Symbol.dispose]();
  assert((await read).every((v) => v === 0));
});

goldenOnDevices("sinCosPositions() is the original's grid", [TENSORS], async () => {
  const golden = await Golden.load(TENSORS);
  for (const name of golden.names("grid")) {
    const [, size, side, extra] = /dim(\d+)_n(\d+)(?:_extra(\d+))?$/.exec(name)!;
    const got = sinCosPositions(Number(size), Number(side), Number(extra ?? 0));
    assertAbsolute(name, got, toFloat64(golden.tensors.get(name)!), 1e-12);
  }
}, ["reference"]);

/** A device without memory, on which any model can be made. */
function nowhere(): Device {
  const backend = {
    alloc: (bytes: number) => ({ bytes }),
    free: () => {},
    write: () => {},
  } as unknown as Device["backend"];
  return { name: "wasm", backend, ledger: new MemoryLedger() };
}

goldenOnDevices("the twelve models have the original's sizes", [INFO], async (device) => {
  const { models } = await goldenJson<Init>(INFO);
  assertEquals(Object.keys(DIT_CONFIGS).toSorted(), Object.keys(models).toSorted());
  setDevice(nowhere());
  for (const [name, want] of Object.entries(models)) {
    const model = withoutInit(() => createDiT(name));
    assertEquals(model.parameterCount(), want.params_input32_1000classes, name);
    const { depth, hiddenSize, numHeads, patchSize } = model.options;
    assertEquals(depth, want.depth);
    assertEquals(hiddenSize, want.hidden_size);
    assertEquals(numHeads, want.num_heads);
    assertEquals(patchSize, want.patch_size);
  }
  setDevice(device);
}, ["reference"]);
