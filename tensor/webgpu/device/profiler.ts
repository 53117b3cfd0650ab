/**
 * Where the GPU spends its time. While it is on, every launch has a compute pass of its own with a
 * timestamp at each end; that costs time between launches, which is not counted.
 */

/** What the profiler needs of the runtime whose launches it times. */
export interface Recorder {
  /** The encoder with no pass open. */
  copyEncoder(): GPUCommandEncoder;
  /** Submits what was recorded. */
  flush(): void;
}

/** GPU time of all launches of one kernel by one op. */
export interface ProfileRow {
  /** The public op. */
  readonly op: string;
  /** The kernel and its variant. */
  readonly kernel: string;
  readonly launches: number;
  readonly milliseconds: number;
}

/** Two timestamps a launch; WebGPU allows 4096 a set. */
const LAUNCHES_A_SET = 2048;

export class Profiler {
  readonly #sets: GPUQuerySet[] = [];
  readonly #names: { op: string; kernel: string }[] = [];

  constructor(readonly device: GPUDevice) {}

  /** Descriptor of the pass for the next launch. */
  pass(op: string, kernel: string): GPUComputePassDescriptor {
    const at = this.#names.push({ op, kernel }) - 1;
    const place = at % LAUNCHES_A_SET;
    if (place === 0) {
      const count = 2 * LAUNCHES_A_SET;
      this.#sets.push(this.device.createQuerySet({ type: "timestamp", count }));
    }
    return {
      timestampWrites: {
        querySet: this.#sets.at(-1)!,
        beginningOfPassWriteIndex: 2 * place,
        endOfPassWriteIndex: 2 * place + 1,
      },
    };
  }

  /** Waits for the launches and adds up their times, the longest first. */
  async finish(recorder: Recorder): Promise<ProfileRow[]> {
    const rows = new Map<string, { -readonly [K in keyof ProfileRow]: ProfileRow[K] }>();
    for (const [number, set] of this.#sets.entries()) {
      const first = number * LAUNCHES_A_SET;
      const names = this.#names.slice(first, first + LAUNCHES_A_SET);
      const times = await this.#resolve(recorder, set, names.length);
      names.forEach(({ op, kernel }, i) => {
        const name = `${op} ${kernel}`;
        const row = rows.get(name) ?? { op, kernel, launches: 0, milliseconds: 0 };
        row.launches++;
        row.milliseconds += Number(times[2 * i + 1]! - times[2 * i]!) / 1e6;
        rows.set(name, row);
      });
      set.destroy();
    }
    return [...rows.values()].sort((a, b) => b.milliseconds - a.milliseconds);
  }

  /** Timestamps of a set's first launches, in nanoseconds. */
  async #resolve(
    recorder: Recorder,
    set: GPUQuerySet,
    launches: number,
  ): Promise<BigUint64Array> {
    const size = launches * 16;
    const usage = GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC;
    const resolved = this.device.createBuffer({ size, usage });
    const staging = this.device.createBuffer({
      size,
      usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
    });
    const encoder = recorder.copyEncoder();
    encoder.resolveQuerySet(set, 0, 2 * launches, resolved, 0);
    encoder.copyBufferToBuffer(resolved, 0, staging, 0, size);
    recorder.flush();
    await staging.mapAsync(GPUMapMode.READ);
    const times = new BigUint64Array(staging.getMappedRange().slice(0));
    staging.destroy();
    resolved.destroy();
    return times;
  }
}
