/** Memory that is set aside for recorded work, so that nothing else writes to it. */
import type { WorkMemory } from "../../backend.ts";
import { blockHolding, type DeviceMemory, Heap, type Yielding } from "./memory.ts";

/** Bytes that are set aside at a time at least. */
const LEAST_CHUNK = 1 << 20;

/**
 * Memory that recordings share: each has what lies there to itself from its beginning to its end. It
 * grows to what the largest of them needs.
 */
export class Arena implements WorkMemory, Yielding {
  readonly #memory: DeviceMemory;
  #heap = new Heap(() => 0, 0);
  /** Addresses of what was taken from the device's memory. */
  readonly #chunks: number[] = [];
  /** How often everything was given back. */
  generation = 0;
  #lent = 0;
  #locks = 0;
  #isOver = false;

  constructor(memory: DeviceMemory) {
    this.#memory = memory;
    memory.arenas.add(this);
  }

  /** Whether nothing of it is in use. */
  get isIdle(): boolean {
    return this.#lent === 0;
  }

  lock(): void {
    this.#locks++;
  }

  unlock(): void {
    this.#locks--;
  }

  /** As {@linkcode DeviceMemory.alloc}. */
  alloc(bytes: number, op: string): number {
    let address = this.#heap.alloc(bytes);
    if (address === undefined) {
      this.#locks++; // it is not what makes room for itself
      try {
        const size = blockHolding(Math.max(bytes, LEAST_CHUNK));
        const chunk = this.#memory.alloc(size, op);
        this.#chunks.push(chunk);
        this.#heap.add(chunk, size);
      } finally {
        this.#locks--;
      }
      address = this.#heap.alloc(bytes)!;
    }
    this.#lent++;
    return address;
  }

  /** Takes back what `alloc` gave. */
  free(address: number): void {
    this.#heap.free(address);
    this.#lent--;
    if (this.#isOver && this.#lent === 0) this.#clear();
  }

  /** As {@linkcode Yielding.yield}. */
  yield(): boolean {
    if (this.#lent > 0 || this.#locks > 0 || this.#chunks.length === 0) return false;
    this.#clear();
    return true;
  }

  /** Gives everything back for good, as soon as nothing of it is in use. */
  dispose(): void {
    this.#isOver = true;
    this.#memory.arenas.delete(this);
    this.generation++;
    if (this.#lent === 0) this.#clear();
  }

  #clear(): void {
    for (const chunk of this.#chunks.splice(0)) this.#memory.free(chunk);
    this.#heap = new Heap(() => 0, 0);
    this.generation++;
  }
}
