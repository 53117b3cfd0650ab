/** Bind groups cost as much as ten dispatches to make, so each is made once and looked up. */
import type { Block, BlockUser } from "./block.ts";

/** A cached bind group and what it binds. */
export class BindGroupEntry implements BlockUser {
  constructor(
    readonly group: GPUBindGroup,
    readonly hash: number,
    readonly blocks: readonly Block[],
    readonly starts: readonly number[],
    readonly sizes: readonly number[],
    readonly owner: BindGroups,
  ) {
    for (const block of blocks) block.bindGroups.add(this);
  }

  /** Forgets the group: one of its blocks is about to be destroyed. */
  drop(): void {
    this.owner.remove(this);
    for (const block of this.blocks) block.bindGroups.delete(this);
  }
}

/**
 * The bind groups of one layout: binding 0 is the window of `uniformBytes` into the uniform ring,
 * placed by a dynamic offset; bindings from 1 on are windows of blocks.
 */
export class BindGroups {
  /** Bind groups made since the start. */
  made = 0;
  #entries = new Map<number, BindGroupEntry[]>();
  #size = 0;

  constructor(
    readonly device: GPUDevice,
    readonly layout: GPUBindGroupLayout,
    readonly uniforms: GPUBuffer,
    readonly uniformBytes: number,
    /** When there are more, the cache starts afresh: shapes that never return would pile up. */
    readonly cap: number = 8192,
  ) {}

  /** The group that binds the first `count` of these windows. The arrays are only read. */
  get(count: number, blocks: Block[], starts: number[], sizes: number[]): GPUBindGroup {
    let hash = count;
    for (let i = 0; i < count; i++) {
      hash = Math.imul(hash ^ blocks[i]!.id, 0x9e3779b1) ^ (hash >>> 15);
      hash = Math.imul(hash ^ (starts[i]! / 4), 0x85ebca6b) ^ sizes[i]!;
    }
    const list = this.#entries.get(hash);
    if (list) {
      next: for (const entry of list) {
        for (let i = 0; i < count; i++) {
          if (
            entry.blocks[i] !== blocks[i] || entry.starts[i] !== starts[i] ||
            entry.sizes[i] !== sizes[i]
          ) continue next;
        }
        return entry.group;
      }
    }
    if (this.#size >= this.cap) this.clear();
    return this.#make(hash, count, blocks, starts, sizes);
  }

  #make(
    hash: number,
    count: number,
    blocks: Block[],
    starts: number[],
    sizes: number[],
  ): GPUBindGroup {
    const entries: GPUBindGroupEntry[] = [
      { binding: 0, resource: { buffer: this.uniforms, offset: 0, size: this.uniformBytes } },
    ];
    for (let i = 0; i < count; i++) {
      entries.push({
        binding: i + 1,
        resource: { buffer: blocks[i]!.gpu, offset: starts[i]!, size: sizes[i]! },
      });
    }
    const group = this.device.createBindGroup({ layout: this.layout, entries });
    this.made++;
    this.#size++;
    const entry = new BindGroupEntry(
      group,
      hash,
      blocks.slice(0, count),
      starts.slice(0, count),
      sizes.slice(0, count),
      this,
    );
    const list = this.#entries.get(hash);
    if (list) list.push(entry);
    else this.#entries.set(hash, [entry]);
    return group;
  }

  remove(entry: BindGroupEntry): void {
    const list = this.#entries.get(entry.hash);
    const at = list?.indexOf(entry) ?? -1;
    if (!list || at < 0) return;
    list.splice(at, 1);
    if (list.length === 0) this.#entries.delete(entry.hash);
    this.#size--;
  }

  clear(): void {
    for (const list of [...this.#entries.values()]) {
      for (const entry of [...list]) entry.drop();
    }
  }
}
