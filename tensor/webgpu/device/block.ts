/** A buffer of the system, and what the parts of the runtime note on it. */

/** What is cached for a block and has to go with it. */
export interface BlockUser {
  drop(): void;
}

/** Who has set blocks aside, see arena.ts. */
export interface BlockHolder {
  /** Gets a block of its own back. */
  put(block: Block): void;
}

/** A buffer of the system, handed from one owner to the next. */
export class Block {
  /** The last batch of commands that uses the block; see Runtime.batch. */
  batch = -1;
  /** Counts each time that the block is lent and given back: the same number, the same loan. */
  loans = 0;
  /** Where it goes when it is given back; null for the pool. */
  holder: BlockHolder | null = null;
  /** Scratch of one dispatch: whether it writes the block, and where it is bound. */
  writtenBy = -1;
  slotOf = -1;
  slot = 0;
  /** Cached bind groups that hold the block, to be dropped with it. */
  readonly bindGroups: Set<BlockUser> = new Set();
  #destroyed = false;

  constructor(readonly id: number, readonly gpu: GPUBuffer, readonly size: number) {}

  destroy(): void {
    if (this.#destroyed) return;
    this.#destroyed = true;
    for (const user of this.bindGroups) user.drop();
    this.gpu.destroy();
  }
}
