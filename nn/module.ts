/** The base of layers and models: finding parameters, naming them, moving weights in and out. */
import { Parameter } from "../autograd/mod.ts";
import {
  copyInto,
  isFloat,
  sameShape,
  type Shape,
  shapeText,
  Tensor,
  tensor,
  type TensorData,
} from "../tensor/mod.ts";

/** Weights that do not fit a module: all that is wrong, by name. */
export class StateDictError extends Error {
  /** Tells it from other errors where classes are lost: in logs, from workers. */
  override readonly name = "StateDictError";
}

/** A weight on its way in: a tensor, or elements on the host with their shape. */
export type StateValue = Tensor | { readonly shape: Shape; readonly data: TensorData };

/** Weights by name. */
export type StateDict = Map<string, Tensor>;

/** What a module's properties can hold that has a name in its state. */
export type Member = Module | Parameter | Tensor;

/**
 * A layer or model. Properties that hold parameters, modules, or arrays of modules are found and
 * named after the property, in snake case as PyTorch's names are (`qkvBias` is `qkv_bias`);
 * tensors that are not parameters are buffers: part of the state, not trained.
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
          if (item instanceof Module) yield [`${name}.${i}`, item];
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

  /** Every parameter, frozen ones included, by its full name. */
  *namedParameters(): Iterable<[string, Parameter]> {
    for (const [name, t] of this.namedTensors()) if (t instanceof Parameter) yield [name, t];
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
   * @param state By name; floats of any precision.
   * @param options `strict: false` lets names be missing or unexpected; shapes must fit always.
   * @returns Names that were missing and unexpected.
   * @throws {StateDictError} listing every name that is missing, unexpected or misshapen.
   */
  loadStateDict(
    state: ReadonlyMap<string, StateValue> | Readonly<Record<string, StateValue>>,
    options: { strict?: boolean } = {},
  ): { missing: string[]; unexpected: string[] } {
    const given = state instanceof Map ? state : new Map(Object.entries(state));
    const own = this.stateDict();
    const shapes = new Map(Array.from(given, ([name, value]) => [name, value.shape] as const));
    const found = checkState(own, shapes, options.strict ?? true);
    for (const [name, target] of own) {
      const value = given.get(name);
      if (value) assign(target, value);
    }
    return found;
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

/**
 * Compares the names and shapes of weights with those wanted.
 *
 * @throws {StateDictError} listing all that does not fit.
 */
export function checkState(
  own: ReadonlyMap<string, { readonly shape: Shape }>,
  given: ReadonlyMap<string, Shape>,
  strict: boolean,
): { missing: string[]; unexpected: string[] } {
  const missing = [...own.keys()].filter((name) => !given.has(name));
  const unexpected = [...given.keys()].filter((name) => !own.has(name));
  const misshapen = [...own].flatMap(([name, { shape }]) => {
    const got = given.get(name);
    return got && !sameShape(got, shape)
      ? [`${name}: expected ${shapeText(shape)} but got ${shapeText(got)}`]
      : [];
  });
  const faults = [
    ...(strict
      ? missing.map((name) =>
        `${name}: expected ${shapeText(own.get(name)!.shape)} but it is missing`
      )
      : []),
    ...(strict
      ? unexpected.map((name) => `${name}: unexpected, of shape ${shapeText(given.get(name)!)}`)
      : []),
    ...misshapen,
  ];
  if (faults.length > 0) {
    throw new StateDictError(
      `weights that do not fit (${faults.length}):\n  ${faults.join("\n  ")}`,
    );
  }
  return { missing, unexpected };
}

/** Copies a weight over `target`, in place. */
export function assign(target: Tensor, value: StateValue): void {
  if (value instanceof Tensor) copyInto(value, target, "loadStateDict");
  else {
    // floats are rounded to the target's type on the device
    const { device } = target;
    const halves = value.data instanceof Float16Array;
    const dtype = !isFloat(target.dtype) ? target.dtype : halves ? "f16" : "f32";
    using source = tensor(value.data, value.shape, { dtype, device });
    copyInto(source, target, "loadStateDict");
  }
  target.storage.version++;
}
