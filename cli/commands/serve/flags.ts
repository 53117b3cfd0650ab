/** The flags of `deno task serve`. */
import { OVERRIDE_FLAGS } from "../../model/overrides.ts";
import { HALF, MODEL_FLAGS } from "../../model/sampling_flags.ts";
import { DEVICE_FLAGS, HELP } from "../../shared/common_flags.ts";
import { RESULTS, SERVE } from "../../shared/defaults.ts";
import { UsageError } from "../../shared/errors.ts";
import {
  count,
  type Flag,
  type FlagValues,
  text,
  withDefault,
  withDefaultText,
} from "../../shared/flags.ts";
import { isHost, MOST_PORT } from "../../shared/hosts.ts";

const { ckpt, weights, vae } = MODEL_FLAGS;

/** Names with commas between them. */
const names: Flag<string[]> = {
  help: "further names that the server is reached by, beside localhost and numbers",
  value: "NAME,...",
  parse(given, name) {
    const list = given.split(",");
    if (list.every((one) => /^[\w.-]+$/.test(one))) return list;
    throw new UsageError(`--${name}: expected names, such as gpu.example.org, but got "${given}"`);
  },
};

/** An address without a port. */
const host: Flag<string> = {
  help: "address to listen on; 0.0.0.0 lets others on your network sample here",
  value: "ADDRESS",
  parse(given, name) {
    if (isHost(given)) return given;
    throw new UsageError(
      `--${name}: expected an address without a port, such as 0.0.0.0, but got "${given}"`,
    );
  },
};

/** Who is answered. */
export const WHO = {
  "port": withDefault(count("port; 0 takes any that is free", 0, MOST_PORT), SERVE.port),
  "host": withDefault(host, SERVE.host),
  "names": names,
  "max-queue": withDefault(count("requests that wait at most; more are refused", 0, 1000), 8),
} as const;

/** What is served. */
export const WHAT = {
  "ckpt": withDefaultText({ ...ckpt, help: `further ${ckpt.help}` }, "runs' and the demo's only"),
  "weights": weights,
  "vae": vae,
  "results-dir": withDefault(text("DIR", "the folder of runs"), RESULTS),
} as const;

/** Where it samples. */
export const WHERE = { "half": HALF, ...DEVICE_FLAGS, "help": HELP } as const;

/** All flags. */
export const SERVE_FLAGS = { ...WHO, ...WHAT, ...WHERE, ...OVERRIDE_FLAGS } as const;

/** What was given. */
export type ServeFlags = FlagValues<typeof SERVE_FLAGS>;
