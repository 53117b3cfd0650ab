/**
 * Memory of the WebAssembly device, and the allocator over it: one memory, shared where there can be
 * threads, with 64-bit addresses where the runtime has them.
 *
 * The allocator is a two-level segregated fit (Masmano et al., "TLSF", ECRTS 2004): free blocks
 * hang on lists by size class, sixteen classes an octave, and neighbours merge when freed. Both
 * directions take constant time, and the sizes of one training step are found again in the next.
 * Book-keeping lives on the JavaScript side, where no faulty kernel can overwrite it.
 */
import { OutOfMemoryError } from "../../errors.ts";
import { MAX_PAGES, type MemoryKind, Module } from "../emit/assembler.ts";
import { threadsMissing } from "./host.ts";
import { HEAP_START, PAGE_BYTES } from "./layout.ts";

/** Alignment of every block, in bytes: two cache lines, which prefetchers fetch together. */
export const ALIGNMENT = 128;

/** Size classes an octave, as a power of two. */
const CLASS_BITS = 4;
const CLASSES = 1 << CLASS_BITS;
/** More than any memory has. Larger sizes have no class: they are counted in 32 bits. */
const MOST_BYTES = 2 ** 31 * ALIGNMENT;

/** A run of bytes between its neighbours in address order, free or in use. */
interface Block {
  readonly address: number;
  bytes: number;
  free: boolean;
  before: Block | undefined;
  after: Block | undefined;
  /** Neighbours in the free list of its class. */
  previousFree: Block | undefined;
  nextFree: Block | undefined;
}

/** Class of a block of `bytes`: a floating-point number of `CLASS_BITS` bits, as an integer. */
function classOf(bytes: number): number {
  const units = bytes / ALIGNMENT;
  if (units < CLASSES) return units;
  const exponent = 31 - Math.clz32(units);
  return (exponent - CLASS_BITS + 1) * CLASSES + ((units >>> (exponent - CLASS_BITS)) - CLASSES);
}

/** Bytes of the smallest block in the smallest class whose every block holds `bytes`. */
export function blockHolding(bytes: number): number {
  const units = Math.max(1, Math.ceil(bytes / ALIGNMENT));
  if (units < CLASSES) return units * ALIGNMENT;
  const step = 1 << (31 - Math.clz32(units) - CLASS_BITS);
  return Math.ceil(units / step) * step * ALIGNMENT;
}

/**
 * Hands out address ranges from a region that `grow` lengthens.
 */
export class Heap {
  readonly #grow: (bytes: number) => number;
  readonly #free: (Block | undefined)[] = [];
  /** One bit a class that has free blocks, 32 classes a word. */
  readonly #occupied = new Uint32Array(32);
  readonly #used = new Map<number, Block>();
  #last: Block | undefined;

  /**
   * @param grow lengthens the region by at least this many bytes and returns by how many it did
   *   (a multiple of 128); 0 where it cannot
   * @param start address of the region's first byte, a multiple of 128; it starts empty
   */
  constructor(grow: (bytes: number) => number, readonly start: number) {
    this.#grow = grow;
  }

  /** Address of a free range of `bytes`, 128-byte aligned, or undefined where memory has run out. */
  alloc(bytes: number): number | undefined {
    const need = Math.max(1, Math.ceil(bytes / ALIGNMENT)) * ALIGNMENT;
    if (need >= MOST_BYTES) return undefined;
    const block = this.#find(need) ?? this.#extend(need);
    if (!block) return undefined;
    this.#unlink(block);
    if (block.bytes > need) this.#link(this.#split(block, need));
    block.free = false;
    this.#used.set(block.address, block);
    return block.address;
  }

  /**
   * Adds bytes (a multiple of 128) from `address` on, apart from the region: no block of them merges
   * with its others.
   */
  add(address: number, bytes: number): void {
    this.#link({
      address,
      bytes,
      free: true,
      before: undefined,
      after: undefined,
      previousFree: undefined,
      nextFree: undefined,
    });
  }

  /** Gives back a range from `alloc`. */
  free(address: number): void {
    const block = this.#used.get(address);
    if (!block) throw new RangeError(`free: nothing is allocated at address ${address}`);
    this.#used.delete(address);
    const { before, after } = block;
    if (after?.free) {
      this.#unlink(after);
      this.#merge(block, after);
    }
    if (before?.free) {
      this.#unlink(before);
      this.#merge(before, block);
      this.#link(before);
    } else {
      this.#link(block);
    }
  }

  #find(need: number): Block | undefined {
    const first = classOf(blockHolding(need));
    let word = first >>> 5;
    let bits = this.#occupied[word]! & (-1 << (first & 31));
    while (bits === 0) {
      if (++word >= this.#occupied.length) return undefined;
      bits = this.#occupied[word]!;
    }
    return this.#free[(word << 5) + 31 - Math.clz32(bits & -bits)];
  }

  /** Grows the region until its end has a free block of `need` bytes, linked. */
  #extend(need: number): Block | undefined {
    const tail = this.#last?.free ? this.#last : undefined;
    if (tail && tail.bytes >= need) return tail; // Big enough, but its class also holds smaller ones.
    const grown = this.#grow(need - (tail?.bytes ?? 0));
    if (grown === 0) return undefined;
    if (tail) {
      this.#unlink(tail);
      tail.bytes += grown;
      this.#link(tail);
      return tail;
    }
    const last = this.#last;
    const block: Block = {
      address: last ? last.address + last.bytes : this.start,
      bytes: grown,
      free: true,
      before: last,
      after: undefined,
      previousFree: undefined,
      nextFree: undefined,
    };
    if (last) last.after = block;
    this.#last = block;
    this.#link(block);
    return block;
  }

  /** Cuts `block` to `bytes`; returns the rest, unlinked. */
  #split(block: Block, bytes: number): Block {
    const rest: Block = {
      address: block.address + bytes,
      bytes: block.bytes - bytes,
      free: true,
      before: block,
      after: block.after,
      previousFree: undefined,
      nextFree: undefined,
    };
    if (block.after) block.after.before = rest;
    else this.#last = rest;
    block.after = rest;
    block.bytes = bytes;
    return rest;
  }

  #merge(block: Block, after: Block): void {
    block.bytes += after.bytes;
    block.after = after.after;
    if (after.after) after.after.before = block;
    else this.#last = block;
  }

  #link(block: Block): void {
    const c = classOf(block.bytes);
    const head = this.#free[c];
    block.free = true;
    block.previousFree = undefined;
    block.nextFree = head;
    if (head) head.previousFree = block;
    this.#free[c] = block;
    this.#occupied[c >>> 5]! |= 1 << (c & 31);
  }

  #unlink(block: Block): void {
    const { previousFree, nextFree } = block;
    if (nextFree) nextFree.previousFree = previousFree;
    if (previousFree) {
      previousFree.nextFree = nextFree;
    } else {
      const c = classOf(block.bytes);
      this.#free[c] = nextFree;
      if (!nextFree) this.#occupied[c >>> 5]! &= ~(1 << (c & 31));
    }
  }
}

/** The least address space that is worth a device: 1 GiB. */
const FEWEST_PAGES = 2 ** 30 / PAGE_BYTES;

/** Makes a memory that may grow from `initial` to `maximum` pages. */
type CreateMemory = (initial: number, maximum: number, kind: MemoryKind) => WebAssembly.Memory;

function createMemory(initial: number, maximum: number, kind: MemoryKind): WebAssembly.Memory {
  const { shared, bits } = kind;
  if (bits === 32) return new WebAssembly.Memory({ initial, maximum, shared });
  // TypeScript's library does not know 64-bit memories yet.
  return new WebAssembly.Memory(
    {
      address: "i64",
      initial: BigInt(initial),
      maximum: BigInt(maximum),
      shared,
    } as unknown as WebAssembly.MemoryDescriptor,
  );
}

/** The best kind of memory that this runtime has. */
export function memoryKind(): MemoryKind {
  const shared = threadsMissing() === undefined;
  const hasWide = WebAssembly.validate(new Module().bytes({ shared, bits: 64 }));
  return { shared, bits: hasWide ? 64 : 32 };
}

/** The result of `make`, or undefined where the system has no memory for it. */
function orUndefined<T>(make: () => T): T | undefined {
  try {
    return make();
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

/** Memory that is set aside. */
export interface Yielding {
  /**
   * Gives everything back where it has something and nothing needs it.
   *
   * @returns whether it has.
   */
  yield(): boolean;
}

/** The device's memory: grows on demand, never shrinks. */
export class DeviceMemory {
  /** What kernels import as `env.memory`. */
  readonly memory: WebAssembly.Memory;
  readonly kind: MemoryKind;
  /** What is set aside, and given back where the memory cannot grow. */
  readonly arenas = new Set<Yielding>();
  readonly #heap: Heap;
  readonly #maxPages: number;
  #pages = HEAP_START / PAGE_BYTES + 1;
  #growths = 0;

  /**
   * Reserves addresses, of memory only what is used: 16 GiB, or less where a system limits them or
   * addresses have 32 bits.
   *
   * @param maxBytes where allocation ends; unless given where addresses do
   * @throws {OutOfMemoryError} where not even 1 GiB of addresses is to be had.
   */
  constructor(
    maxBytes = Infinity,
    kind: MemoryKind = memoryKind(),
    create: CreateMemory = createMemory,
  ) {
    this.kind = kind;
    const asked = Math.min(MAX_PAGES[kind.bits], Math.floor(maxBytes / PAGE_BYTES));
    const most = Math.max(this.#pages, asked);
    let made: WebAssembly.Memory | undefined, pages = most;
    for (;;) {
      made = orUndefined(() => create(this.#pages, pages, kind));
      if (made || pages <= FEWEST_PAGES) break;
      pages = Math.max(FEWEST_PAGES, pages >> 1);
    }
    if (!made) {
      throw new OutOfMemoryError(
        `wasm: expected ${
          pages * PAGE_BYTES
        } bytes of address space for its memory but got none; ` +
          `a limit on this process's virtual memory (ulimit -v, a container's, a browser's for a page) may ` +
          `be too low`,
      );
    }
    this.#maxPages = pages;
    this.memory = made;
    this.#heap = new Heap((bytes) => this.#grow(bytes), HEAP_START);
  }

  /** Bytes of the memory, in use or not. */
  get reservedBytes(): number {
    return this.#pages * PAGE_BYTES;
  }

  /** The most bytes that the memory may grow to. */
  get maxBytes(): number {
    return this.#maxPages * PAGE_BYTES;
  }

  /** How often the memory has grown. */
  get growths(): number {
    return this.#growths;
  }

  /**
   * Address of `bytes` of memory, 128-byte aligned, contents undefined. Reading up to one page
   * past the end of any block is harmless: it stays inside the memory.
   *
   * @param op named in the OutOfMemoryError thrown where there is not enough
   */
  alloc(bytes: number, op: string): number {
    const address = this.#heap.alloc(bytes) ?? this.#allocYielded(bytes);
    if (address === undefined) {
      throw new OutOfMemoryError(
        `${op}: expected ${bytes} bytes of memory but found none: ${this.reservedBytes} of at most ${
          this.#maxPages * PAGE_BYTES
        } bytes are taken`,
      );
    }
    return address;
  }

  /** Address of `bytes` that arenas give back, if they do. */
  #allocYielded(bytes: number): number | undefined {
    for (const arena of this.arenas) {
      const address = arena.yield() ? this.#heap.alloc(bytes) : undefined;
      if (address !== undefined) return address;
    }
    return undefined;
  }

  free(address: number): void {
    this.#heap.free(address);
  }

  /**
   * Grows in steps of an eighth, so that a program that allocates bit by bit grows rarely. The
   * last page is never handed out, for kernels that read past an end.
   */
  #grow(bytes: number): number {
    const need = Math.ceil(bytes / PAGE_BYTES);
    const left = this.#maxPages - this.#pages;
    if (need > left) return 0;
    for (const pages of [Math.min(left, Math.max(need, this.#pages >> 3, 64)), need]) {
      const delta = this.kind.bits === 64 ? BigInt(pages) as unknown as number : pages;
      const before = orUndefined(() => this.memory.grow(delta));
      if (before === undefined) continue; // The system has less; try just what is needed.
      this.#pages += pages;
      this.#growths++;
      return pages * PAGE_BYTES;
    }
    return 0;
  }
}
