import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { mul, Parameter, relu, sum } from "../autograd/mod.ts";
import { init, memory, scope, type Tensor, tensor, zeros } from "../tensor/mod.ts";
import { eachDevice } from "../tests/devices.ts";
import { Dropout, Linear, Sequential } from "./layers.ts";
import { Module } from "./module.ts";
import { StateDictError } from "./state.ts";

class Block extends Module {
  fc1: Linear = new Linear(2, 3);
  qkvBias: Parameter = new Parameter(zeros([4]));
  #hidden: Linear = new Linear(1, 1);
  note = "not state";

  forward(x: Tensor): Tensor {
    return this.fc1.forward(x);
  }
  override dispose(): void {
    super.dispose();
    this.#hidden.dispose();
  }
}

class Model extends Module {
  posEmbed: Tensor = tensor([1, 2]);
  blocks: Block[] = [new Block(), new Block()];
  head: Linear | null = null;
  dropout: Dropout = new Dropout(0.5);

  forward(x: Tensor): Tensor {
    return mul(this.blocks[0]!.forward(x), sum(this.posEmbed));
  }
}

/** On wasm, in a scope of its own. */
function test(name: string, run: () => void | Promise<void>): void {
  eachDevice(name, async () => {
    using _ = scope();
    await run();
  }, ["wasm"]);
}

test("Module names what its properties hold, in snake case, in order", () => {
  const names = [...new Model().stateDict().keys()];
  assertEquals(names, [
    "pos_embed",
    "blocks.0.fc1.weight",
    "blocks.0.fc1.bias",
    "blocks.0.qkv_bias",
    "blocks.1.fc1.weight",
    "blocks.1.fc1.bias",
    "blocks.1.qkv_bias",
  ]);
});

test("Module distinguishes parameters from buffers", () => {
  const model = new Model();
  assertEquals(Array.from(model.namedBuffers(), ([name]) => name), ["pos_embed"]);
  assertEquals(model.parameters().length, 6);
  assertEquals(model.parameterCount(), 2 * (6 + 3 + 4));
  assertEquals([...model.modules()].length, 6);
});

test("Module.train() and eval() reach every module below", () => {
  const model = new Model().eval();
  assert([...model.modules()].every((m) => !m.training));
  assertEquals(model.train(), model);
  assert([...model.modules()].every((m) => m.training));
});

test("Module.evaluating() gives each module its mode back, also after an error", async () => {
  const model = new Model().train();
  const first = [...model.modules()][1]!.eval(); // a part that stays as it is used
  const modes = () => Array.from(model.modules(), (m) => m.training);
  const before = modes();
  assert(before.includes(true) && before.includes(false));
  assertEquals(await model.evaluating(modes), before.map(() => false));
  assertEquals(modes(), before);
  await assertRejects(() => model.evaluating(() => Promise.reject(new Error("no"))), Error, "no");
  assertEquals(modes(), before);
  assert(!first.training);
});

test("Module.requireGrad() freezes and frees every parameter", () => {
  const model = new Model().requireGrad(false);
  assert(model.parameters().every((p) => !p.requiresGrad));
  assert(model.requireGrad(true).parameters().every((p) => p.requiresGrad));
});

eachDevice(
  "Module.loadStateDict() copies tensors, host arrays of any float, and buffers",
  async () => {
    using _ = scope();
    const model = new Model();
    const other = new Model();
    assertEquals(model.loadStateDict(other.stateDict()), { missing: [], unexpected: [] });
    for (const [name, t] of model.stateDict()) {
      assertEquals(await t.data(), await other.stateDict().get(name)!.data());
    }
    const found = model.loadStateDict({
      pos_embed: { shape: [2], data: Float64Array.of(0.5, 3) },
      "blocks.1.qkv_bias": { shape: [4], data: Float16Array.of(1, 2, 3, 4) },
      "head.weight": { shape: [1], data: [1] },
    }, { strict: false });
    assertEquals(found.unexpected, ["head.weight"]);
    assertEquals(found.missing.length, 5);
    assertEquals(Array.from(await model.posEmbed.data()), [0.5, 3]);
    assertEquals(Array.from(await model.blocks[1]!.qkvBias.data()), [1, 2, 3, 4]);
  },
);

test("Module.loadStateDict() lists everything that does not fit, and changes nothing", async () => {
  const model = new Model();
  const before = await model.posEmbed.data();
  const given = {
    pos_embed: { shape: [2], data: [9, 9] },
    "blocks.0.fc1.weight": { shape: [2, 3], data: [1, 2, 3, 4, 5, 6] },
    "blocks.0.fc1.bias": { shape: [3], data: [1, 2, 3] },
    "blocks.0.qkv_bias": { shape: [5], data: [1, 2, 3, 4, 5] },
    "blocks.2.qkv_bias": { shape: [4], data: [1, 2, 3, 4] },
  };
  const { message } = assertThrows(() => model.loadStateDict(given), StateDictError);
  for (
    const part of [
      "(6)",
      "blocks.0.fc1.weight: expected [3, 2] but got [2, 3]",
      "blocks.0.qkv_bias: expected [4] but got [5]",
      "blocks.1.fc1.weight: expected [3, 2] but it is missing",
      "blocks.1.fc1.bias: expected [3] but it is missing",
      "blocks.1.qkv_bias: expected [4] but it is missing",
      "blocks.2.qkv_bias: unexpected, of shape [4]",
    ]
  ) assert(message.includes(part), `expected ${part} in ${message}`);
  assertEquals(await model.posEmbed.data(), before);
  // shapes must fit even where names need not
  const loose = assertThrows(() => model.loadStateDict(given, { strict: false }), StateDictError);
  assert(loose.message.includes("(2)"));
});

test("Module finds parameters in arrays, and gives one that is shared once", () => {
  class Tied extends Module {
    scales: Parameter[] = [new Parameter(zeros([2])), new Parameter(zeros([3]))];
    encoder: Linear = new Linear(2, 2);
    decoder: Linear = this.encoder;
    forward(): void {}
  }
  const model = new Tied();
  const names = ["scales.0", "scales.1", "encoder.weight", "encoder.bias"];
  assertEquals(Array.from(model.namedParameters(), ([name]) => name), names);
  assertEquals(model.parameterCount(), 2 + 3 + 4 + 2);
  const all = [...names, "decoder.weight", "decoder.bias"];
  assertEquals([...model.stateDict().keys()], all); // as PyTorch's state has it
});

test("Sequential names modules by their place and runs functions between them", async () => {
  const model = new Sequential(new Linear(2, 2), relu, new Linear(2, 1, { bias: false }));
  assertEquals([...model.stateDict().keys()], ["0.weight", "0.bias", "2.weight"]);
  model.loadStateDict({
    "0.weight": { shape: [2, 2], data: [1, 0, 0, -1] },
    "0.bias": { shape: [2], data: [0, 0.5] },
    "2.weight": { shape: [1, 2], data: [2, 3] },
  });
  assertEquals(Array.from(await model.forward(tensor([5, 7], [1, 2])).data()), [10]);
});

Deno.test("Module.dispose() frees parameters and buffers", async () => {
  const device = await init({ device: "wasm" });
  const { tensors, liveBytes } = memory(device);
  {
    using model = new Model();
    assertEquals(model.parameters().length, 6);
  }
  assertEquals([memory(device).tensors, memory(device).liveBytes], [tensors, liveBytes]);
});
