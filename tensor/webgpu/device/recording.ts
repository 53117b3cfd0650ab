/** Commands that were recorded once, to be recorded again with other buffers in some places. */
import type { RecordedWork } from "../../backend.ts";
import type { DeviceBuffer } from "../../view.ts";
import type { Arena } from "./arena.ts";
import type { Block } from "./block.ts";
import type { Launch } from "./launch.ts";
import { gpuBuffer } from "./pool.ts";

/** Whole words copied between two blocks. */
interface Copy {
  readonly from: Block;
  readonly at: number;
  readonly to: Block;
  readonly start: number;
  /** Bytes. */
  readonly length: number;
}

/** Whole words that the host wrote. */
interface Upload {
  readonly to: Block;
  readonly start: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** One command to the GPU. */
export type Command = { readonly launch: Launch } | Copy | Upload;

/** A command in which blocks can be replaced. */
interface Slot {
  /** Which command. */
  readonly index: number;
  /** By place among the blocks of the command: which of the bound buffers, or -1. */
  readonly places: readonly number[];
}

/** What a recording needs of the runtime. */
interface Player {
  /** What kernels are planned by: other plans make other launches. */
  readonly plans: unknown;
  /** Records a command again. */
  repeat(command: Command): void;
}

/** Commands in their order. */
export class Recording implements RecordedWork {
  readonly #commands: Command[] = [];
  readonly #arena: Arena | null;
  readonly #player: Player;
  readonly #plans: unknown;
  readonly #generation: number;
  #isSpoiled = false;
  /** Blocks that are neither bound nor the arena's, each with its loan. */
  readonly #others = new Map<Block, number>();
  /** Commands on blocks that are bound. */
  readonly #slots: Slot[] = [];

  /**
   * An empty one.
   *
   * @param arena What everything lies in that is made meanwhile.
   * @param player Records commands again.
   */
  constructor(arena: Arena | null, player: Player) {
    this.#arena = arena;
    this.#player = player;
    this.#plans = player.plans;
    this.#generation = arena?.generation ?? 0;
  }

  add(command: Command): void {
    this.#commands.push(command);
  }

  /** Notes that something was done that cannot be repeated. */
  spoil(): void {
    this.#isSpoiled = true;
  }

  matches(other: RecordedWork): boolean {
    if (!(other instanceof Recording)) return false;
    const theirs = other.#commands;
    return theirs.length === this.#commands.length &&
      this.#commands.every((command, i) => sameCommand(command, theirs[i]!));
  }

  bind(buffers: readonly DeviceBuffer[]): boolean {
    const arena = this.#arena;
    if (this.#isSpoiled || !arena) return false;
    const bound = buffers.map((buffer) => gpuBuffer(buffer).block);
    if (new Set(bound).size < bound.length) return false;
    for (const [index, command] of this.#commands.entries()) {
      const places = blocksOf(command).map((block) => {
        const place = bound.indexOf(block);
        if (place < 0 && !arena.has(block)) this.#others.set(block, block.loans);
        return place;
      });
      if (places.some((place) => place >= 0)) this.#slots.push({ index, places });
    }
    return true;
  }

  get isValid(): boolean {
    for (const [block, loans] of this.#others) if (block.loans !== loans) return false;
    const { generation } = this.#arena!;
    return generation === this.#generation && this.#player.plans === this.#plans;
  }

  replay(buffers: readonly DeviceBuffer[]): void {
    for (const { index, places } of this.#slots) {
      const command = this.#commands[index]!;
      const before = blocksOf(command);
      const blocks = places.map((place, i) => {
        return place < 0 ? before[i]! : gpuBuffer(buffers[place]!).block;
      });
      if (blocks.some((block, i) => block !== before[i])) {
        this.#commands[index] = withBlocks(command, blocks);
      }
    }
    for (const command of this.#commands) this.#player.repeat(command);
  }
}

function blocksOf(command: Command): readonly Block[] {
  if ("launch" in command) return command.launch.blocks;
  return "bytes" in command ? [command.to] : [command.from, command.to];
}

function withBlocks(command: Command, blocks: Block[]): Command {
  if ("launch" in command) {
    const { launch } = command;
    const { pipeline: { groups }, count, starts, sizes } = launch;
    const group = groups.get(count, blocks, [...starts], [...sizes]);
    return { launch: { ...launch, blocks, group } };
  }
  if ("bytes" in command) return { ...command, to: blocks[0]! };
  return { ...command, from: blocks[0]!, to: blocks[1]! };
}

/** Whether two commands do the same, wherever their blocks are. */
function sameCommand(a: Command, b: Command): boolean {
  if ("launch" in a) return "launch" in b && sameLaunch(a.launch, b.launch);
  if ("launch" in b || a.start !== b.start) return false;
  if ("bytes" in a) return "bytes" in b && sameNumbers(a.bytes, b.bytes);
  return !("bytes" in b) && a.at === b.at && a.length === b.length;
}

function sameLaunch(a: Launch, b: Launch): boolean {
  return a.pipeline === b.pipeline && sameNumbers(a.words, b.words) &&
    sameNumbers(a.starts, b.starts) && sameNumbers(a.sizes, b.sizes);
}

function sameNumbers(a: ArrayLike<number>, b: ArrayLike<number>): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
