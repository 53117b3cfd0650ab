/** Blocks that are set aside for recorded work, so that nothing else writes to them. */
import type { WorkMemory } from "../../backend.ts";
import type { Block, BlockHolder } from "./block.ts";
import { FreeBlocks } from "./free_blocks.ts";

/** What an arena needs of the pool that its blocks are of. */
interface Pool {
  /** Takes a free block back. */
  put(block: Block): void;
  /** Those that have blocks of it. */
  readonly arenas: Set<Arena>;
}

/**
 * Memory that recordings share: each has what lies there to itself from its beginning to its end.
 * It grows to what the largest of them needs.
 */
export class Arena implements BlockHolder, WorkMemory {
  readonly #blocks = new Set<Block>();
  readonly #free = new FreeBlocks();
  readonly #pool: Pool;
  /** How often everything was given back. */
  generation = 0;
  #lent = 0;
  #locks = 0;
  /** Whether it has been of use since it was given back: it would only take turns with others else. */
  #mayYield = true;
  #isOver = false;

  constructor(pool: Pool) {
    this.#pool = pool;
    pool.arenas.add(this);
  }

  /** Whether nothing of it is on loan. */
  get isIdle(): boolean {
    return this.#lent === 0;
  }

  /** Whether it can be given back without harm. */
  get isUnneeded(): boolean {
    return this.isIdle && this.#locks === 0 && this.#mayYield;
  }

  lock(): void {
    this.#locks++;
    this.#mayYield = true;
  }

  unlock(): void {
    this.#locks--;
  }

  has(block: Block): boolean {
    return this.#blocks.has(block);
  }

  /** Lends a block of exactly this size, where there is a free one. */
  take(size: number): Block | undefined {
    const block = this.#free.take(size);
    if (block) this.#lent++;
    return block;
  }

  /** Sets a block aside that the pool is about to lend. */
  add(block: Block): void {
    if (this.#isOver) return;
    block.holder = this;
    this.#blocks.add(block);
    this.#lent++;
  }

  put(block: Block): void {
    this.#lent--;
    this.#free.put(block);
  }

  /** Gives everything back to the pool, what is on loan as soon as it is given back itself. */
  clear(): void {
    for (const block of this.#blocks) block.holder = null;
    for (const block of [...this.#free]) {
      this.#free.remove(block);
      this.#pool.put(block);
    }
    this.#blocks.clear();
    this.#lent = 0;
    this.generation++;
    this.#mayYield = false;
  }

  /** As `clear()`, for good. */
  dispose(): void {
    this.#isOver = true;
    this.clear();
    this.#pool.arenas.delete(this);
  }
}
