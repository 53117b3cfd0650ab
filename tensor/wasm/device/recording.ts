/** Launches that were made once, to be made again with other buffers in some places. */
import type { RecordedWork } from "../../backend.ts";
import type { DeviceBuffer, View } from "../../view.ts";
import type { Arena } from "./arena.ts";
import { WasmBuffer } from "./buffer.ts";
import type { KernelId, LaunchOptions } from "./kernel.ts";

/**
 * Added to addresses while launches are recorded, which tells them from numbers among a kernel's
 * arguments. Kernels cut fractions off; where a number had this one, it would not lie in a buffer.
 */
const MARK = 2 ** -12;

/** What an address lies in: a buffer, or what a kernel takes for itself while it runs. */
interface Owner {
  readonly address: number;
  readonly bytes: number;
}

/** Where an address stands. */
interface Reference {
  /** Which of the arguments. */
  readonly slot: number;
  readonly owner: Owner;
  /** Bytes from the owner's first. */
  readonly offset: number;
}

/** A launch. */
export interface LaunchStep {
  readonly kernel: KernelId;
  readonly slots: Float64Array;
  readonly options: LaunchOptions;
  readonly references: readonly Reference[];
}

/** What the host wrote. */
interface WriteStep {
  readonly bytes: Uint8Array;
  readonly address: number;
  readonly reference: Reference;
}

/** Indices that the host looked at. */
interface CheckStep {
  readonly owner: WasmBuffer;
  /** In a buffer that lies where `owner` lay, which may be freed when this is done again. */
  readonly view: View;
  readonly limit: number;
  readonly op: string;
}

type Step = LaunchStep | WriteStep | CheckStep;

/** What a recording needs of the device. */
export interface Player {
  /** Kernels are launched by it. */
  readonly threads: number;
  repeat(step: LaunchStep): void;
  writeAt(address: number, bytes: Uint8Array): void;
}

/** Throws where an index is out of [0, limit). */
export type CheckIndices = (view: View, limit: number, op: string) => void;

/** An argument of a step that is one of the buffers to bind. */
interface Slot {
  readonly step: LaunchStep;
  readonly slot: number;
  readonly offset: number;
  /** Which buffer. */
  readonly place: number;
}

/** Launches in their order. */
export class Recording implements RecordedWork {
  readonly arena: Arena | null;
  readonly #player: Player;
  readonly #checkIndices: CheckIndices;
  readonly #threads: number;
  readonly #generation: number;
  readonly #steps: Step[] = [];
  #isSpoiled = false;
  /** What the kernel that is being launched was given. */
  #owners: Owner[] = [];
  /** Those that are neither bound nor the arena's, with where they lay. */
  readonly #others = new Map<Owner, number>();
  readonly #slots: Slot[] = [];
  /** Which of the bound buffers writes and checks are of. */
  readonly #places = new Map<Step, number>();

  /**
   * An empty one.
   *
   * @param arena What everything lies in that is made meanwhile.
   */
  constructor(arena: Arena | null, player: Player, checkIndices: CheckIndices) {
    this.arena = arena;
    this.#player = player;
    this.#checkIndices = checkIndices;
    this.#threads = player.threads;
    this.#generation = arena?.generation ?? 0;
  }

  /** Begins another kernel, whose arguments are not those of the last. */
  begin(): void {
    this.#owners = [];
  }

  /** Marks an address in `owner`. */
  mark(address: number, owner: Owner): number {
    this.#owners.push(owner);
    return address + MARK;
  }

  /** Adds a launch. */
  launch(kernel: KernelId, slots: readonly number[], options: LaunchOptions): void {
    const references: Reference[] = [];
    const plain = new Float64Array(slots.length);
    for (let slot = 0; slot < slots.length; slot++) {
      const value = slots[slot]!;
      const reference = this.#reference(slot, value);
      if (reference) references.push(reference);
      plain[slot] = reference ? value - MARK : value;
    }
    const { scratchBytes, threads } = options;
    const kept = {
      ...(scratchBytes === undefined ? {} : { scratchBytes }),
      ...(threads === undefined ? {} : { threads }),
    };
    this.#steps.push({ kernel, slots: plain, options: kept, references });
  }

  #reference(slot: number, value: number): Reference | undefined {
    const address = value - MARK;
    if (!Number.isInteger(address)) return undefined;
    const owner = this.#owners.findLast((o) =>
      o.address <= address && address < o.address + o.bytes
    );
    return owner && { slot, owner, offset: address - owner.address };
  }

  /** Adds what the host writes; `address` is marked. */
  write(address: number, bytes: Uint8Array): void {
    const reference = this.#reference(0, address);
    if (reference) {
      this.#steps.push({ bytes: bytes.slice(), address: address - MARK, reference });
    } else {
      this.spoil();
    }
  }

  /** Adds a look at indices. */
  check(view: View, limit: number, op: string): void {
    const owner = view.buffer as WasmBuffer;
    const buffer = new WasmBuffer(owner.bytes, owner.address);
    this.#steps.push({ owner, view: { ...view, buffer }, limit, op });
  }

  /** Notes that something was done that cannot be repeated. */
  spoil(): void {
    this.#isSpoiled = true;
  }

  matches(other: RecordedWork): boolean {
    if (!(other instanceof Recording)) return false;
    const theirs = other.#steps;
    return theirs.length === this.#steps.length &&
      this.#steps.every((step, i) => isSameStep(step, theirs[i]!));
  }

  bind(buffers: readonly DeviceBuffer[]): boolean {
    const { arena } = this;
    if (this.#isSpoiled || !arena || new Set(buffers).size < buffers.length) return false;
    const placeOf = (owner: Owner): number => {
      const place = buffers.indexOf(owner as WasmBuffer);
      const isOwn = !("arena" in owner) || owner.arena === arena;
      if (place < 0 && !isOwn) this.#others.set(owner, owner.address);
      return place;
    };
    for (const step of this.#steps) {
      if ("references" in step) {
        for (const { slot, owner, offset } of step.references) {
          const place = placeOf(owner);
          if (place >= 0) this.#slots.push({ step, slot, offset, place });
        }
      } else {
        const owner = "bytes" in step ? step.reference.owner : step.owner;
        this.#places.set(step, placeOf(owner));
      }
    }
    return [...this.#others.keys()].every(({ address }) => !Number.isNaN(address));
  }

  get isValid(): boolean {
    for (const [owner, address] of this.#others) if (owner.address !== address) return false;
    return this.arena!.generation === this.#generation && this.#player.threads === this.#threads;
  }

  replay(buffers: readonly DeviceBuffer[]): void {
    const player = this.#player;
    const addresses = buffers.map((buffer) => (buffer as WasmBuffer).address);
    for (const { step, slot, offset, place } of this.#slots) {
      step.slots[slot] = addresses[place]! + offset;
    }
    for (const step of this.#steps) {
      if ("kernel" in step) {
        player.repeat(step);
        continue;
      }
      const place = this.#places.get(step)!;
      if ("bytes" in step) {
        const address = place < 0 ? step.address : addresses[place]! + step.reference.offset;
        player.writeAt(address, step.bytes);
      } else {
        const { view, limit, op } = step;
        this.#checkIndices(place < 0 ? view : { ...view, buffer: buffers[place]! }, limit, op);
      }
    }
  }
}

/** Whether two steps do the same, wherever their buffers are. */
function isSameStep(a: Step, b: Step): boolean {
  if ("kernel" in a) {
    return "kernel" in b && a.kernel === b.kernel &&
      a.options.threads === b.options.threads &&
      a.options.scratchBytes === b.options.scratchBytes && isSameLaunch(a, b);
  }
  if ("bytes" in a) {
    return "bytes" in b && a.reference.offset === b.reference.offset &&
      isSameList(a.bytes, b.bytes);
  }
  return "view" in b && a.limit === b.limit && a.view.offset === b.view.offset &&
    isSameList(a.view.shape, b.view.shape);
}

function isSameLaunch(a: LaunchStep, b: LaunchStep): boolean {
  if (a.slots.length !== b.slots.length || a.references.length !== b.references.length) {
    return false;
  }
  let next = 0;
  for (let slot = 0; slot < a.slots.length; slot++) {
    const [mine, theirs] = [a.references[next], b.references[next]];
    if (mine?.slot === slot) {
      if (theirs!.slot !== slot || mine.offset !== theirs!.offset) return false;
      next++;
    } else if (!Object.is(a.slots[slot], b.slots[slot])) {
      return false;
    }
  }
  return true;
}

function isSameList(a: ArrayLike<number>, b: ArrayLike<number>): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
