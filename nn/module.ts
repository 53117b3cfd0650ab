/** The base of layers and models: finding parameters, naming them, moving weights in and out. */
import { Parameter } from "../autograd/mod.ts";
import { checkOptionNames, Tensor } from "../tensor/mod.ts";
import { assignState, type StateDict, type StateValue } from "./state.ts";

/** What a module's properties can hold that has a name in its state. */
export type Member = Module | Parameter | Tensor;

/**
 * A layer or model. Properties that hold parameters, modules, or arrays of modules are found and
 * named after the property, in snake case as PyTorch's names are (`qkvBias` is `qkv_bias`);
 * tensors that are not parameters are buffers: part of the state, not trained.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { init, nn, type Tensor } from "@dit/core";
 *
 * class Head extends nn.Module {
 *   norm = new nn.LayerNorm(8);
 *   fc = new nn.Linear(8, 2);
 *   forward(x: Tensor): Tensor {
 *     return this.fc.forward(this.norm.forward(x));
 *   }
 * }
 * await init({ device: "wasm" });
 * using head = new Head();
 * const names = [...head.stateDict().keys()];
 * assertEquals(names, ["norm.weight", "norm.bias", "fc.weight", "fc.bias"]);
 * ```
 */
export abstract class Module {
  /** Whether layers that differ between training and use (dropout) behave as in training. */
  training = true;

  /** The computation. */
  abstract forward(...inputs: never[]): unknown;

  /** The name in state dicts of what property `property` holds. */
  protected nameOf(property: string): string {
    return property.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`);
  }

  /** Direct members with their names, in order of definition. */
  *members(): Iterable<[string, Member]> {
    for (const [property, value] of Object.entries(this)) {
      const name = this.nameOf(property);
      if (value instanceof Module || value instanceof Tensor) yield [name, value];
      else if (Array.isArray(value)) {
        for (const [i, item] of value.entries()) {
          if (item instanceof Module || item instanceof Tensor) yield [`${name}.${i}`, item];
        }
      }
    }
  }

  /** Every parameter and buffer below this module, by its full name. */
  *namedTensors(prefix = ""): Iterable<[string, Tensor]> {
    for (const [name, member] of this.members()) {
      if (member instanceof Module) yield* member.namedTensors(`${prefix}${name}.`);
      else yield [prefix + name, member];
    }
  }

  /**
   * Every parameter, frozen ones included, by its full name; one that several modules share is
   * given once, by its first name.
   */
  *namedParameters(): Iterable<[string, Parameter]> {
    const seen = new Set<Parameter>();
    for (const [name, t] of this.namedTensors()) {
      if (!(t instanceof Parameter) || seen.has(t)) continue;
      seen.add(t);
      yield [name, t];
    }
  }

  /** Every tensor that is state but no parameter, by its full name. */
  *namedBuffers(): Iterable<[string, Tensor]> {
    for (const [name, t] of this.namedTensors()) if (!(t instanceof Parameter)) yield [name, t];
  }

  /** Every parameter, frozen ones included. */
  parameters(): Parameter[] {
    return Array.from(this.namedParameters(), ([, p]) => p);
  }

  /** Number of elements of all parameters, frozen ones included. */
  parameterCount(): number {
    return this.parameters().reduce((n, p) => n + p.size, 0);
  }

  /** This module and all modules below it. */
  *modules(): Iterable<Module> {
    yield this;
    for (const [, member] of this.members()) if (member instanceof Module) yield* member.modules();
  }

  /** Parameters and buffers by name. The tensors are the module's own, not copies. */
  stateDict(): StateDict {
    return new Map(this.namedTensors());
  }

  /**
   * Copies weights in. Nothing is changed unless everything fits.
   *
   * @param state By name: tensors, elements on the host, or tensors as files hold them, so that
   * what `loadSafetensors` and `loadTorch` give goes straight in. Floats of any precision.
   * @param options `strict: false` lets names be missing or unexpected; shapes must fit always.
   * @returns Names that were missing and unexpected.
   * @throws {StateDictError} listing every name that is missing, unexpected or misshapen.
   */
  loadStateDict(
    state: ReadonlyMap<string, StateValue> | Readonly<Record<string, StateValue>>,
    options: { strict?: boolean } = {},
  ): { missing: string[]; unexpected: string[] } {
    checkOptionNames("loadStateDict", options, { strict: 1 });
    const given = state instanceof Map ? state : new Map(Object.entries(state));
    return assignState(this.stateDict(), given, options.strict);
  }

  /** Switches to training behaviour, or away from it. */
  train(on = true): this {
    for (const m of this.modules()) m.training = on;
    return this;
  }

  /** Switches to the behaviour in use: no dropout. */
  eval(): this {
    return this.train(false);
  }

  /**
   * Runs `fn` in eval mode; afterwards, also where it throws, this module and each below it are in
   * the mode that they were in.
   */
  async evaluating<T>(fn: () => T | Promise<T>): Promise<T> {
    const before = Array.from(this.modules(), (m) => [m, m.training] as const);
    this.eval();
    try {
      return await fn();
    } finally {
      for (const [m, training] of before) m.training = training;
    }
  }

  /** Freezes or frees every parameter. */
  requireGrad(on: boolean): this {
    for (const p of this.parameters()) p.requiresGrad = on;
    return this;
  }

  /** Forgets all gradients. */
  zeroGrad(): void {
    for (const p of this.parameters()) p.zeroGrad();
  }

  /** Frees parameters and buffers, those of the modules below included. */
  dispose(): void {
    for (const [, member] of this.members()) member.dispose();
  }

  /** `using model = ...` frees at the end of the block. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}
