/**
 * A step of data-parallel training as a discrete-event model: every rank computes its forward and
 * backward pass, the gradients go round in buckets as they are complete, and the optimizer waits for
 * the last of them. What takes time is given, in seconds of an undisturbed machine; who disturbs whom
 * is computed: threads share cores, a bucket waits for the slowest rank and for the bucket before it.
 */

/** A part of a forward and backward pass, at whose end a bucket of so many bytes is full. */
export interface Segment {
  readonly seconds: number;
  readonly bytes: number;
}

/** What one rank computes in a step, in its order. */
export interface StepTimes {
  /** The first one holds the forward pass. */
  readonly passes: readonly Segment[];
  readonly optimizer: number;
}

/** Seconds that a bucket of so many bytes takes in each part of its way. */
export interface BucketCosts {
  /** From the moment when all ranks have it. */
  readonly allReduce: (bytes: number) => number;
  /** Out of a GPU's memory; not needed on the CPU. */
  readonly toHost?: (bytes: number) => number;
  /** Seconds that a bucket is late after that, though the next may follow at once. */
  readonly delay?: number;
  /** Back into it. */
  readonly fromHost?: (bytes: number) => number;
}

/** The machine that the ranks run on, and how gradients go round. */
export interface Setup {
  readonly costs: BucketCosts;
  /** When buckets are sent: as soon as they are full, or only after the backward pass. */
  readonly when: "during backward" | "after backward";
  /** Cores that all ranks share; Infinity where each has what it needs, as on GPUs. */
  readonly cores: number;
  /** Cores that the computing of one rank keeps busy; 1 unless given. */
  readonly threads?: number;
  /**
   * Cores that an all-reduce keeps busy on each rank: 1 where it is nothing but the work of a thread,
   * as through shared memory, 0 where it is that of a network card.
   */
  readonly coresOfReducing: number;
  /** Whether a rank keeps a core busy while it waits for others to bring their bucket. */
  readonly polling: boolean;
}

/** What came of it, in seconds. */
export interface StepResult {
  /** Until the last rank is done. */
  readonly seconds: number;
  /** Between a rank's backward pass and its optimizer; the mean of the ranks. */
  readonly waiting: number;
  /** During which some all-reduce was under way. */
  readonly reducing: number;
}

/** Something that is under way. */
interface Activity {
  /** Seconds that are left of it at full speed; Infinity for what others end. */
  left: number;
  /** Cores that it wants. */
  readonly cores: number;
  /** What follows. */
  readonly done: () => void;
}

/** Threads that share cores, and what needs none. */
class Clock {
  now = 0;
  readonly #active = new Set<Activity>();

  constructor(readonly cores: number) {}

  /** Begins something; it can be ended before its time by {@linkcode end}. */
  start(seconds: number, cores: number, done: () => void): Activity {
    const activity = { left: seconds, cores, done };
    this.#active.add(activity);
    return activity;
  }

  end(activity: Activity): void {
    this.#active.delete(activity);
  }

  /** Goes on until nothing is under way but waiting. */
  run(): void {
    for (;;) {
      let wanted = 0;
      for (const { cores } of this.#active) wanted += cores;
      // Too many threads get equal shares.
      const share = Math.min(1, this.cores / wanted);
      const speed = ({ cores }: Activity) => cores > 0 ? share : 1;
      let next: Activity | undefined;
      let soonest = Infinity;
      for (const activity of this.#active) {
        const seconds = Math.max(0, activity.left) / speed(activity);
        if (seconds < soonest) [next, soonest] = [activity, seconds];
      }
      if (!next) return;
      for (const activity of this.#active) activity.left -= soonest * speed(activity);
      this.now += soonest;
      this.#active.delete(next);
      next.done();
    }
  }
}

/** Does one thing after the other. */
class Queue {
  readonly #waiting: ((next: () => void) => void)[] = [];
  #isBusy = false;

  /** Appends a task, which calls what it is given when it is done. */
  add(task: (next: () => void) => void): void {
    this.#waiting.push(task);
    if (!this.#isBusy) this.#next();
  }

  readonly #next = (): void => {
    const task = this.#waiting.shift();
    this.#isBusy = task !== undefined;
    task?.(this.#next);
  };
}

/**
 * Simulates a step.
 *
 * @param ranks What each rank computes; the bytes of buckets are the same for all.
 */
export function simulateStep(ranks: readonly StepTimes[], setup: Setup): StepResult {
  const { costs, coresOfReducing, polling, threads = 1 } = setup;
  const clock = new Clock(setup.cores);
  const collective = new Collective(clock, ranks.length, coresOfReducing, polling);
  let waiting = 0;
  for (const [rank, { passes, optimizer }] of ranks.entries()) {
    const [toHost, fromHost] = [new Queue(), new Queue()];
    let missing = passes.length;
    let computed = -1; // when the backward pass was over
    const compute = (seconds: number, done: () => void) => clock.start(seconds, threads, done);
    const copy = (queue: Queue, seconds: number, done: () => void) => {
      if (seconds === 0) return done();
      queue.add((next) => {
        clock.start(seconds, 0, () => {
          next();
          done();
        });
      });
    };
    const finish = () => {
      if (computed < 0 || missing > 0) return;
      waiting += clock.now - computed;
      compute(optimizer, () => {});
    };
    const send = ({ bytes }: Segment) => {
      const reduce = () =>
        collective.join(rank, costs.allReduce(bytes), () => {
          copy(fromHost, costs.fromHost?.(bytes) ?? 0, () => {
            missing--;
            finish();
          });
        });
      copy(toHost, costs.toHost?.(bytes) ?? 0, () => {
        if (costs.delay) clock.start(costs.delay, 0, reduce);
        else reduce();
      });
    };
    const step = (i: number) => {
      const segment = passes[i];
      if (!segment) {
        if (setup.when === "after backward") passes.forEach(send);
        computed = clock.now;
        return finish();
      }
      compute(segment.seconds, () => {
        if (setup.when === "during backward") send(segment);
        step(i + 1);
      });
    };
    step(0);
  }
  clock.run();
  return {
    seconds: clock.now,
    waiting: waiting / ranks.length,
    reducing: collective.seconds,
  };
}

/** What a rank brings to an all-reduce. */
interface Brought {
  readonly seconds: number;
  readonly done: () => void;
}

/**
 * Seconds that each of several threads would have taken with a core to itself, of those that they took
 * when they began together and shared `cores`: what the simulation turns into the latter again.
 */
export function undisturbed(times: readonly number[], cores: number): number[] {
  const ends = times.toSorted((a, b) => a - b);
  return times.map((time) => {
    let [work, since] = [0, 0];
    for (const [ended, end] of ends.entries()) {
      const until = Math.min(end, time);
      work += (until - since) * Math.min(1, cores / (ends.length - ended));
      since = until;
    }
    return work;
  });
}

/** All-reduces, one after the other, each when every rank has come to it. */
class Collective {
  /** During which some all-reduce was under way. */
  seconds = 0;
  /** By rank, in their order. */
  readonly #brought: Brought[][];
  /** By rank, where it waits for others. */
  readonly #polls: (Activity | null)[];
  #isBusy = false;

  constructor(
    readonly clock: Clock,
    ranks: number,
    readonly cores: number,
    readonly polling: boolean,
  ) {
    this.#brought = Array.from({ length: ranks }, () => []);
    this.#polls = this.#brought.map(() => null);
  }

  /** A rank brings its next bucket. */
  join(rank: number, seconds: number, done: () => void): void {
    this.#brought[rank]!.push({ seconds, done });
    this.#next();
  }

  #next(): void {
    if (this.#isBusy) return;
    if (this.#brought.some((queue) => queue.length === 0)) {
      if (this.polling) this.#poll();
      return;
    }
    const { clock } = this;
    for (const [rank, poll] of this.#polls.entries()) {
      if (poll) clock.end(poll);
      this.#polls[rank] = null;
    }
    const heads = this.#brought.map((queue) => queue.shift()!);
    const began = clock.now;
    this.#isBusy = true;
    let left = heads.length;
    const end = () => {
      if (--left > 0) return;
      this.seconds += clock.now - began;
      this.#isBusy = false;
      for (const { done } of heads) done();
      this.#next();
    };
    for (const { seconds } of heads) clock.start(seconds, this.cores, end);
  }

  /** Ranks that have a bucket keep a core busy until the others have one too. */
  #poll(): void {
    for (const [rank, queue] of this.#brought.entries()) {
      if (queue.length > 0) this.#polls[rank] ??= this.clock.start(Infinity, 1, () => {});
    }
  }
}
