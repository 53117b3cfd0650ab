/**
 * The tape and everything that records itself on it: differentiable ops, parameters, backward,
 * checkpoint segments, mixed precision and gradient checking.
 *
 * @module
 */
export { backward, type BackwardOptions, type GradientHook, gradients } from "./backward.ts";
export { Captured, type CapturedParts } from "./captured.ts";
export { checkpoint } from "./checkpoint.ts";
export * from "./gradcheck.ts";
export * from "./modes.ts";
export {
  cast,
  type CastRule,
  defineComposite,
  defineOp,
  type OpEntry,
  type Operands,
  type OpRow,
  ops,
  type Sample,
  type SampleInput,
} from "./op.ts";
export * from "./ops/mod.ts";
export { keepHalf, takeHalf } from "./half_weights.ts";
export { Parameter } from "./parameter.ts";
export { type Backward, type Places, requiresGrad } from "./tape.ts";
