/** The Inception Score (Salimans et al., arXiv:1606.03498), from logits that come in parts. */

/** Samples of a split, as in the ADM suite. */
export const SPLIT_SIZE = 5000;

/** Sums over the samples of one split. */
interface Split {
  count: number;
  /** Of p log p. */
  negativeEntropy: number;
  /** Of p, by class. */
  readonly classes: Float64Array;
}

/**
 * exp(mean over samples of KL(p(y | x) || p(y))), averaged over splits of consecutive samples; the
 * last may be smaller.
 */
export class InceptionScore {
  readonly #size: number;
  readonly #splits: Split[] = [];

  /** @param splitSize Samples of a split. */
  constructor(splitSize: number = SPLIT_SIZE) {
    this.#size = splitSize;
  }

  /** Adds samples: logits [N, classes]. */
  add(logits: Float32Array, classes: number): void {
    const p = new Float64Array(classes);
    for (let at = 0; at < logits.length; at += classes) {
      let largest = -Infinity;
      for (let c = 0; c < classes; c++) largest = Math.max(largest, logits[at + c]!);
      let total = 0;
      for (let c = 0; c < classes; c++) total += p[c] = Math.exp(logits[at + c]! - largest);
      const split = this.#open(classes);
      split.count++;
      const logTotal = Math.log(total);
      for (let c = 0; c < classes; c++) {
        const share = p[c]! / total;
        split.classes[c]! += share;
        // log p without taking the logarithm of what was rounded to 0
        split.negativeEntropy += share * (logits[at + c]! - largest - logTotal);
      }
    }
  }

  /** The score; NaN of no samples. */
  value(): number {
    const scores = this.#splits.map(({ count, negativeEntropy, classes }) => {
      const marginal = classes.reduce((sum, p) => p > 0 ? sum + p * Math.log(p / count) : sum, 0);
      return Math.exp((negativeEntropy - marginal) / count);
    });
    return scores.reduce((a, b) => a + b, 0) / scores.length;
  }

  /** The split that the next sample belongs to. */
  #open(classes: number): Split {
    const last = this.#splits.at(-1);
    if (last && last.count < this.#size) return last;
    const split = { count: 0, negativeEntropy: 0, classes: new Float64Array(classes) };
    this.#splits.push(split);
    return split;
  }
}
