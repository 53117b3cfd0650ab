/**
 * Modules, layers, initialisers, and what training needs: AdamW, EMA, loss scaling, clipping and
 * learning-rate schedules.
 *
 * @module
 */
export * from "./adamw.ts";
export * from "./attention.ts";
export * from "./buckets.ts";
export * from "./ema.ts";
export * from "./grad_scaler.ts";
export * from "./gradients.ts";
export * from "./guidance.ts";
export * from "./init.ts";
export * from "./layers.ts";
export * from "./load.ts";
export * from "./mlp.ts";
export { type Member, Module } from "./module.ts";
export { type HostElements, type StateDict, StateDictError, type StateValue } from "./state.ts";
export * from "./schedule.ts";
export * from "./tidy.ts";
