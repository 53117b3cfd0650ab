/**
 * Training's arithmetic against PyTorch's: AdamW and the average of the weights from recorded
 * gradients (golden/optim).
 */
import { assert } from "@std/assert";
import { Parameter } from "../autograd/mod.ts";
import { type HostTensor, loadSafetensors, toFloat32 } from "../io/mod.ts";
import { AdamW, Ema, Module } from "../nn/mod.ts";
import { scope, type Tensor, tensor } from "../tensor/mod.ts";
import { absoluteError, eachDevice } from "./devices.ts";
import { goldenPath, unreadable } from "./fixtures.ts";

/** Absolute; above 8 a float32 cannot be that near, and may be one unit in the last place off. */
const LIMIT = 1e-6;

interface Case {
  name: string;
  options: { lr: number; betas: [number, number]; eps: number; weight_decay: number };
  step: number;
}

class Weights extends Module {
  p: Parameter;
  q: Parameter;

  constructor(p: Tensor, q: Tensor) {
    super();
    this.p = new Parameter(p);
    this.q = new Parameter(q);
  }

  forward(): void {}
}

async function check(one: Case, golden: ReadonlyMap<string, HostTensor>): Promise<void> {
  const stored = (what: string): HostTensor => golden.get(`${one.name}/${what}`)!;
  const upload = (what: string) => tensor(toFloat32(stored(what)), stored(what).shape);
  const compare = async (got: Tensor, what: string) => {
    const want = toFloat32(stored(what));
    const largest = want.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
    const limit = Math.max(LIMIT, largest * 2 ** -23);
    const error = absoluteError(await got.data(), want);
    assert(error <= limit, `${what} is off by ${error}, more than ${limit}`);
  };
  using _ = scope();
  const model = new Weights(upload("p/0"), upload("q/0"));
  const { lr, betas, eps, weight_decay: weightDecay } = one.options;
  using optimizer = new AdamW(model.namedParameters(), { lr, betas, eps, weightDecay });
  using slow = new Ema(model, { decay: 0.9999 });
  using fast = new Ema(model, { decay: 0.9 });
  for (let step = 1; step <= one.step; step++) {
    optimizer.zeroGrad();
    for (const [name, p] of model.namedParameters()) {
      p.addGrad(upload(`grad_${name}/${step}`));
    }
    optimizer.step();
    slow.update();
    fast.update();
    for (const [name, p] of model.namedParameters()) {
      await compare(p, `${name}/${step}`);
      await compare(slow.stateDict().get(name)!, `ema0.9999_${name}/${step}`);
      await compare(fast.stateDict().get(name)!, `ema0.9_${name}/${step}`);
    }
  }
  const state = optimizer.stateDict();
  await compare(state.get("p.expAvg")!, "exp_avg_p");
  await compare(state.get("p.expAvgSq")!, "exp_avg_sq_p");
  assert(await state.get("step")!.item() === one.step);
}

const [table, values] = ["optim/adamw.json", "optim/adamw.safetensors"].map((f) => goldenPath(f));
if (table && values) {
  const { cases } = JSON.parse(await Deno.readTextFile(table)) as { cases: Case[] };
  const golden = await loadSafetensors(values);
  for (const one of cases) {
    eachDevice(`golden optim: ${one.name}, with averages`, () => check(one, golden));
  }
} else {
  const why = unreadable ?? "needs golden optim/adamw.json";
  Deno.test({ name: `golden optim (${why})`, ignore: true, fn: () => {} });
}
