/** The flags of `deno task evaluate`. */
import { DEVICE_FLAGS, HELP } from "../../shared/common_flags.ts";
import { EVALUATION_CACHE } from "../../shared/defaults.ts";
import { UsageError } from "../../shared/errors.ts";
import {
  choice,
  count,
  type Flag,
  type FlagValues,
  text,
  toggle,
  withDefault,
  withDefaultText,
} from "../../shared/flags.ts";

/** What can be measured in features of Inception, in the order of the output. */
export const METRICS = ["fid", "sfid", "inception-score", "precision", "recall", "kid"] as const;

/** One of {@linkcode METRICS}. */
export type Metric = typeof METRICS[number];

/** A flag with some of {@linkcode METRICS} as its value, joined by commas. */
const metrics: Flag<Metric[]> = {
  help: `which of ${METRICS.join(", ")}`,
  value: "NAME,...",
  parse(given, name) {
    const names = given.split(",").map((word) => word.trim());
    for (const word of names) {
      if (!METRICS.some((metric) => metric === word)) {
        throw UsageError.choice(`--${name}`, word, METRICS);
      }
    }
    return METRICS.filter((metric) => names.includes(metric));
  },
};

/** How much is read and computed at a time: no figure depends on it. */
const MOST_BATCH = 1024;

/** Where features come from. */
export const FEATURES = ["inception", "classifier"] as const;

/** All flags. */
export const EVALUATE_FLAGS = {
  "features": withDefault(
    choice(FEATURES, "of the published Inception-v3, or of a classifier trained on the reference"),
    "inception",
  ),
  "page": withDefaultText(
    text(
      "FILE.html",
      "of a classifier: where samples are shown beside their nearest training pictures",
    ),
    "in --cache",
  ),
  "metrics": withDefaultText(metrics, "all"),
  "weights": withDefaultText(
    text("PATH", "weights of Inception-v3: pytorch-fid's .pth, or safetensors of the same names"),
    "what deno task download inception has fetched",
  ),
  "cache": withDefault(
    text("DIR", "keeps features here, by the hash of images and network"),
    EVALUATION_CACHE,
  ),
  "fresh": toggle("compute features anew, whatever is kept"),
  "batch-size": withDefault(count("images at a time", 1, MOST_BATCH), 16),
  "half": toggle("compute in float16: faster on a GPU, and the figures move in their third digit"),
  "json": toggle("print one object and nothing else; what else is said goes to standard error"),
  ...DEVICE_FLAGS,
  "help": HELP,
} as const;

/** What was given. */
export type EvaluateFlags = FlagValues<typeof EVALUATE_FLAGS>;
