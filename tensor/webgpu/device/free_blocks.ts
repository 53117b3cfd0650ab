/** Blocks that may be lent, by size. */
import type { Block } from "./block.ts";

/**
 * Of the free blocks of a size the oldest is taken first, not the one freed last. So the same
 * requests get the same blocks every time round a loop, whatever the order they were freed in, and
 * bind groups made in the first round fit the later ones.
 */
export class FreeBlocks implements Iterable<Block> {
  /** By size, the oldest last. */
  readonly #lists = new Map<number, Block[]>();

  /** A block of exactly this size, where there is one. */
  take(size: number): Block | undefined {
    return this.#lists.get(size)?.pop();
  }

  /** Adds a block. */
  put(block: Block): void {
    let list = this.#lists.get(block.size);
    if (!list) this.#lists.set(block.size, list = []);
    let low = 0;
    let high = list.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (list[middle]!.id > block.id) low = middle + 1;
      else high = middle;
    }
    list.splice(low, 0, block);
  }

  /** Takes out this one. */
  remove(block: Block): void {
    const list = this.#lists.get(block.size)!;
    list.splice(list.indexOf(block), 1);
  }

  *[Symbol.iterator](): Iterator<Block> {
    for (const list of this.#lists.values()) yield* list;
  }
}
