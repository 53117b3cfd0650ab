/** What a training step holds: nothing more after 1,000 of them than after two. */
import { assert, assertEquals } from "@std/assert";
import {
  add,
  autocast,
  backward,
  checkpoint,
  embedding,
  layerNormModulate,
  mse,
  slice,
} from "../autograd/mod.ts";
import {
  AdamW,
  Attention,
  clipGradNorm,
  Dropout,
  Ema,
  Embedding,
  GradScaler,
  Mlp,
  Module,
} from "../nn/mod.ts";
import {
  type Device,
  Generator,
  type Memory,
  memory,
  randint,
  randn,
  scope,
  type Tensor,
} from "../tensor/mod.ts";
import { eachDevice } from "./devices.ts";

/** A block of a diffusion transformer with all that training uses. */
class Model extends Module {
  readonly size = 8;
  labels: Embedding = new Embedding(5, 16);
  attention: Attention = new Attention(8, 2);
  mlp: Mlp = new Mlp(8, 16);
  dropout: Dropout;

  constructor(generator: Generator) {
    super();
    this.dropout = new Dropout(0.1, { generator });
  }

  forward(x: Tensor, y: Tensor): Tensor {
    const c = this.labels.forward(y);
    const [shift, scale] = [slice(c, 1, { end: 8 }), slice(c, 1, { start: 8 })];
    const block = (x: Tensor, shift: Tensor, scale: Tensor) => {
      const mixed = this.attention.forward(layerNormModulate(x, shift, scale));
      return this.dropout.forward(this.mlp.forward(add(x, mixed)));
    };
    return checkpoint(block, checkpoint(block, x, shift, scale), shift, scale);
  }
}

interface Training {
  model: Model;
  optimizer: AdamW;
  scaler: GradScaler;
  ema: Ema;
  generator: Generator;
}

function start(): Training & Disposable {
  const generator = new Generator(1);
  const model = new Model(generator);
  const optimizer = new AdamW(model.parameters());
  const [scaler, ema] = [new GradScaler(), new Ema(model)];
  return {
    model,
    optimizer,
    scaler,
    ema,
    generator,
    [Symbol.dispose]: () => [ema, scaler, optimizer, model].forEach((held) => held.dispose()),
  };
}

function step({ model, optimizer, scaler, ema, generator }: Training): void {
  using _ = scope();
  const x = randn([2, 4, 8], { generator });
  const y = randint(5, [2], { generator });
  const loss = autocast("f16", () => mse(model.forward(x, y), x));
  optimizer.zeroGrad();
  backward(scaler.scale(loss));
  scaler.step(optimizer, { maxNorm: 1 });
  ema.update();
}

/** Memory after every step but the first two, which must stay the same. */
function flat(device: Device, steps: number, run: () => void): void {
  run();
  run();
  const settled: Memory = memory(device);
  for (let i = 2; i < steps; i++) run();
  assertEquals(memory(device), settled);
}

// On a software adapter a step on WebGPU takes about 10 ms, on wasm less than 1.
const STEPS = { wasm: 1000, webgpu: 100, reference: 3 };

eachDevice("a training step leaves memory as it found it, and allocates nothing", (device) => {
  using training = start();
  flat(device, STEPS[device.name], () => step(training));
});

eachDevice("so does a step in f32 that clips by itself", (device) => {
  using training = start();
  const { model, optimizer, generator } = training;
  flat(device, STEPS[device.name] / 10, () => {
    using _ = scope();
    const x = randn([2, 4, 8], { generator });
    const loss = mse(model.forward(x, randint(5, [2], { generator })), x);
    model.zeroGrad();
    backward(loss);
    clipGradNorm(optimizer, 1);
    optimizer.step();
  });
});

eachDevice("so does a step whose backward is never called", (device) => {
  using training = start();
  const { model, generator } = training;
  flat(device, STEPS[device.name] / 10, () => {
    using _ = scope();
    const x = randn([2, 4, 8], { generator });
    mse(model.forward(x, randint(5, [2], { generator })), x);
    embedding(model.labels.weight, randint(5, [3], { generator }));
  });
});

eachDevice("a step that reads its loss leaves nothing behind either", async (device) => {
  using training = start();
  const { model, generator } = training;
  const run = async () => {
    const s = scope();
    const x = randn([2, 4, 8], { generator });
    const read = mse(model.forward(x, randint(5, [2], { generator })), x).item();
    s[Symbol.dispose]();
    assert(Number.isFinite(await read));
  };
  await run();
  await run();
  const settled = memory(device);
  for (let i = 0; i < 5; i++) await run();
  assertEquals(memory(device), settled);
});
