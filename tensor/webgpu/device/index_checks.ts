/**
 * Range checks of indices that live on the GPU. The first bad index is written to a record that
 * travels with every read-back, so checking costs no wait; the kernels that use the indices touch
 * no memory outside their arrays in the meantime.
 */
import type { View } from "../../view.ts";
import { IndexError } from "../../errors.ts";
import { sizeOf } from "../../shape.ts";
import type { GpuBuffer } from "./pool.ts";
import type { WebGpuRuntime } from "./runtime.ts";

interface Check {
  readonly op: string;
  readonly limit: number;
  readonly signed: boolean;
}

export class IndexChecks {
  /** Number (from 1) of the failed check, position of the first bad index, its bits. */
  readonly #record: GpuBuffer;
  /** Checks made so far, one for all with the same op, limit and type. */
  readonly #checks: Check[] = [];
  readonly #numbers = new Map<string, number>();

  constructor(readonly runtime: WebGpuRuntime) {
    this.#record = runtime.alloc(16, "init");
  }

  /** Checks, in the order of all other work, that each element of `index` lies in [0, limit). */
  check(index: View, limit: number, op: string): void {
    const record: View = {
      buffer: this.#record,
      dtype: "u32",
      offset: 0,
      shape: [3],
      strides: [1],
    };
    this.runtime.dispatch({
      op,
      key: "indexCheck",
      source: () => SOURCE,
      views: [
        { name: "index", view: index, access: "read" },
        { name: "record", view: record, access: "readwrite" },
      ],
      u32: {
        length: sizeOf(index.shape),
        limit,
        check: this.#number(op, limit, index.dtype === "i32"),
      },
      workgroups: 1,
    });
  }

  #number(op: string, limit: number, signed: boolean): number {
    const key = `${signed} ${limit} ${op}`;
    let number = this.#numbers.get(key);
    if (number === undefined) {
      number = this.#checks.push({ op, limit, signed });
      this.#numbers.set(key, number);
    }
    return number;
  }

  /** Records the copy of the record into the first bytes of `staging`, and clears it. */
  copyRecord(encoder: GPUCommandEncoder, staging: GPUBuffer): void {
    encoder.copyBufferToBuffer(this.#record.block.gpu, 0, staging, 0, 16);
    encoder.clearBuffer(this.#record.block.gpu, 0, 16);
  }

  /** Throws where a record that was read back holds a bad index. */
  examine(record: Uint32Array): void {
    const check = this.#checks[record[0]! - 1];
    if (!check) return;
    const [, position, bits] = record as unknown as [number, number, number];
    throw new IndexError(
      `${check.op}: expected indices in [0, ${check.limit}) but got ` +
        `${check.signed ? bits | 0 : bits} at position ${position}`,
    );
  }
}

/** One workgroup, so that the first bad index is the same every time. */
const SOURCE = `
var<workgroup> first: array<u32, 256>;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
  var bad = 0xffffffffu;
  for (var i = lane; i < params.length; i += 256u) {
    // A negative i32 is a large u32.
    if (bitcast<u32>(index_load(i)) >= params.limit) { bad = i; break; }
  }
  first[lane] = bad;
  for (var half = 128u; half > 0u; half >>= 1u) {
    workgroupBarrier();
    if (lane < half) { first[lane] = min(first[lane], first[lane + half]); }
  }
  if (lane == 0u && first[0] != 0xffffffffu && record_load(0u) == 0u) {
    record_store(0u, params.check);
    record_store(1u, first[0]);
    record_store(2u, bitcast<u32>(index_load(first[0])));
  }
}
`;
