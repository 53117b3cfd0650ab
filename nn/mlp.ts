import { mlp, type MlpActivation, swiglu } from "../autograd/mod.ts";
import { checkOptionNames, type Tensor } from "../tensor/mod.ts";
import type { InitOptions } from "./init.ts";
import { INIT_OPTIONS, Linear } from "./layers.ts";
import { Module } from "./module.ts";

/** Settings of {@link Mlp}. */
export interface MlpOptions extends InitOptions {
  /** Between the two layers, inside the first product's kernel; the tanh GELU of DiT by default. */
  activation?: MlpActivation;
  /** Size of the result; by default that of the input. */
  outputs?: number;
}

/** Two linear layers with an activation between them. */
export class Mlp extends Module {
  /** inputs to hidden, with the activation */
  fc1: Linear;
  /** hidden to outputs */
  fc2: Linear;
  readonly #activation: MlpActivation;

  /** From `inputs` numbers through `hidden` to as many as there were, or `options.outputs`. */
  constructor(inputs: number, hidden: number, options: MlpOptions = {}) {
    super();
    checkOptionNames("Mlp", options, { ...INIT_OPTIONS, activation: 1, outputs: 1 });
    const { activation = "geluTanh", outputs = inputs, ...init } = options;
    this.#activation = activation;
    this.fc1 = new Linear(inputs, hidden, { ...init, activation });
    this.fc2 = new Linear(hidden, outputs, init);
  }

  /** x [..., inputs] to [..., outputs]. */
  forward(x: Tensor): Tensor {
    const { fc1, fc2 } = this;
    return mlp(x, fc1.weight, fc1.bias, fc2.weight, fc2.bias, { activation: this.#activation });
  }
}

/** silu(x W1ᵀ) (x W2ᵀ), then a linear layer: the SwiGLU of arXiv 2002.05202. */
export class SwiGlu extends Module {
  /** inputs to 2 hidden: the gate, then what it lets through; one product, as LightningDiT has it */
  w12: Linear;
  /** hidden to outputs */
  w3: Linear;

  /** From `inputs` numbers through `hidden` to as many as there were. */
  constructor(inputs: number, hidden: number, options: InitOptions = {}) {
    super();
    checkOptionNames("SwiGlu", options, INIT_OPTIONS);
    this.w12 = new Linear(inputs, 2 * hidden, options);
    this.w3 = new Linear(hidden, inputs, options);
  }

  /** x [..., inputs] to the same shape. */
  forward(x: Tensor): Tensor {
    return this.w3.forward(swiglu(this.w12.forward(x)));
  }
}
