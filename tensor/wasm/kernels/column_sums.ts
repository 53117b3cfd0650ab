/**
 * The last step of sums over rows that threads share: each chunk of rows has left a partial sum,
 * and those are added in order, so that no result depends on who summed what.
 */
import { claimChunks, kernel } from "../emit/abi.ts";
import { type Func, I32, I64 } from "../emit/assembler.ts";
import { vectorContext, walk } from "../emit/rows.ts";
import type { KernelId } from "../device/kernel.ts";
import type { WasmRuntime } from "../device/runtime.ts";
import { Slots } from "../emit/slots.ts";

/** Rows summed one by one into one partial sum. */
export const SUM_CHUNK_ROWS = 64;

const SLOTS = new Slots([
  "partial",
  "groups",
  "chunks",
  "n",
  "out0",
  "out1",
  "out0Bytes",
  "out1Bytes",
]);

/**
 * `out_s[group, j]`, groups being so many bytes apart, = sum over chunks of `partial[group, chunk, s, j]` for s = 0 and 1. Threads
 * claim groups and halves.
 */
export function columnSumKernel(): Func {
  const f = kernel("columnSums");
  const c = vectorContext(f);
  const slots = SLOTS.of(f);
  const partial = slots.i64("partial"), groups = slots.i64("groups");
  const chunks = slots.i64("chunks"), n = slots.i64("n");
  const outs = [slots.i64("out0"), slots.i64("out1")] as const;
  const strides = [slots.i64("out0Bytes"), slots.i64("out1Bytes")] as const;
  const bytes = f.local(I64), jobs = f.local(I32);
  f.get(n).i64const(2).i64("shl").set(bytes);
  f.get(groups).i64const(1).i64("shl").i32("wrap_i64").set(jobs);
  claimChunks(f, jobs, (job) => {
    const out = f.local(I64), group = f.local(I64), from = f.local(I64), chunk = f.local(I64);
    f.get(job).i32const(1).i32("shr_u").i64("extend_i32_u").set(group);
    f.get(outs[1]).get(outs[0]).get(job).i32const(1).i32("and").select().set(out);
    f.get(out).i64const(0).i64("ne").if(() => {
      f.get(out).get(group);
      f.get(strides[1]).get(strides[0]).get(job).i32const(1).i32("and").select();
      f.i64("mul").i64("add").set(out);
      f.get(group).get(chunks).i64("mul").i64const(1).i64("shl");
      f.get(job).i32const(1).i32("and").i64("extend_i32_u").i64("add");
      f.get(bytes).i64("mul").get(partial).i64("add").set(from);
      f.get(out).get(from).get(bytes).memoryCopy();
      f.i64const(1).set(chunk);
      f.for64(chunk, chunks, 1, () => {
        f.get(from).get(bytes).i64const(1).i64("shl").i64("add").set(from);
        walk(c, n, [out, from], (step) => {
          const sums = step.load(0), more = step.load(1);
          sums.forEach((sum, i) => f.get(sum).get(more[i]!).f32x4("add").set(sum));
          step.store(0, sums);
        });
      });
    });
  });
  return f;
}

/** Partial sums `[groups, chunks, 2, n]` at an address, and where their sums `[groups, n]` go. */
export interface PartialSums {
  readonly partial: number;
  readonly groups: number;
  readonly chunks: number;
  readonly n: number;
  /** Addresses (0: nowhere), and bytes from one group's sums to the next's. */
  readonly outs: readonly [number, number];
  readonly outBytes: readonly [number, number];
}

/** Launches `columnSumKernel`. */
export function launchColumnSums(runtime: WasmRuntime, sums: KernelId, p: PartialSums): void {
  const { partial, groups, chunks, n, outs: [out0, out1], outBytes } = p;
  const [out0Bytes, out1Bytes] = outBytes;
  const slots = SLOTS.fill({ partial, groups, chunks, n, out0, out1, out0Bytes, out1Bytes });
  const threads = runtime.threadsFor(2 * groups * chunks * n);
  runtime.launch(sums, slots, { threads });
}
