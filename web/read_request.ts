/** Requests to sample, which may come from anywhere: read field by field, and refused with a reason. */
import {
  type ModelInfo,
  MOST_GUIDANCE,
  MOST_PICTURES,
  type PictureRequest,
  type SampleRequest,
} from "./protocol.ts";

/** A request that makes no sense; its message is for people. */
export class RequestError extends Error {
  static {
    this.prototype.name = "RequestError";
  }
}

/** Largest seed. */
export const MOST_SEED = 2 ** 32 - 1;

/**
 * A request that suits one of the models.
 *
 * @param json As parsed; anything.
 * @returns A copy, with known fields only.
 * @throws {RequestError}
 */
export function readSampleRequest(json: unknown, models: readonly ModelInfo[]): SampleRequest {
  const request = objectOf(json, "request", [
    "model",
    "pictures",
    "sampler",
    "steps",
    "eta",
    "guidance",
    "interval",
  ]);
  const model = models.find(({ id }) => id === request["model"]);
  if (model === undefined) {
    throw wrong("model", "one that there is", request["model"]);
  }
  const sampler = model.samplers.find(({ name }) => name === request["sampler"]);
  if (sampler === undefined) {
    const names = model.samplers.map(({ name }) => name).join(", ");
    throw wrong("sampler", `one of ${names}`, request["sampler"]);
  }
  const pictures = request["pictures"];
  if (!Array.isArray(pictures) || pictures.length < 1 || pictures.length > MOST_PICTURES) {
    const got = Array.isArray(pictures) ? `${pictures.length} of them` : pictures;
    throw wrong("pictures", `a list of 1 to ${MOST_PICTURES}`, got);
  }
  const labels = model.classNames.length;
  return {
    model: model.id,
    pictures: pictures.map((picture, i) => readPicture(picture, `pictures.${i}`, labels)),
    sampler: sampler.name,
    steps: whole(request["steps"], "steps", sampler.least, sampler.most),
    eta: number(request["eta"], "eta", 0, sampler.hasEta ? 1 : 0),
    guidance: model.canGuide
      ? number(request["guidance"], "guidance", 0, MOST_GUIDANCE)
      : number(request["guidance"], "guidance", 1, 1),
    interval: readInterval(request["interval"], model.times),
  };
}

function readPicture(json: unknown, at: string, labels: number): PictureRequest {
  const picture = objectOf(json, at, ["label", "seed"], ["towardsSeed", "towardsLabel"]);
  const label = (value: unknown, at: string) => whole(value, at, 0, labels - 1);
  const seed = (value: unknown, at: string) => whole(value, at, 0, MOST_SEED);
  const other = <K extends "seed" | "label">(
    name: "towardsSeed" | "towardsLabel",
    key: K,
    read: (value: unknown, at: string) => number,
  ) => {
    if (picture[name] === undefined) return undefined;
    const towards = objectOf(picture[name], `${at}.${name}`, [key, "amount"]);
    return {
      [key]: read(towards[key], `${at}.${name}.${key}`),
      amount: number(towards["amount"], `${at}.${name}.amount`, 0, 1),
    } as Record<K, number> & { amount: number };
  };
  const towardsSeed = other("towardsSeed", "seed", seed);
  const towardsLabel = other("towardsLabel", "label", label);
  return {
    label: label(picture["label"], `${at}.label`),
    seed: seed(picture["seed"], `${at}.seed`),
    ...(towardsSeed ? { towardsSeed } : {}),
    ...(towardsLabel ? { towardsLabel } : {}),
  };
}

function readInterval(
  json: unknown,
  { least, most, grain }: ModelInfo["times"],
): readonly [number, number] | null {
  if (json === null) return null;
  if (!Array.isArray(json) || json.length !== 2) {
    throw wrong("interval", "null, or the first and the last time", json);
  }
  const read = grain === 1 ? whole : number;
  const first = read(json[0], "interval.0", least, most);
  return [first, read(json[1], "interval.1", first, most)];
}

/** Fields of an object that has these and no others. */
function objectOf(
  json: unknown,
  at: string,
  names: readonly string[],
  optional: readonly string[] = [],
): Record<string, unknown> {
  if (typeof json !== "object" || json === null || Array.isArray(json)) {
    throw wrong(at, "an object", json);
  }
  const missing = names.find((name) => !Object.hasOwn(json, name));
  if (missing !== undefined) throw wrong(at, `an object with ${missing} in it`, undefined);
  const known = [...names, ...optional];
  const unknown = Object.keys(json).find((name) => !known.includes(name));
  if (unknown !== undefined) throw wrong(at, `${known.join(", ")} only`, unknown);
  return json as Record<string, unknown>;
}

function whole(value: unknown, at: string, least: number, most: number): number {
  if (typeof value === "number" && Number.isInteger(value) && value >= least && value <= most) {
    return value + 0; // of -0: 0
  }
  throw wrong(at, least === most ? `${least}` : `a whole number from ${least} to ${most}`, value);
}

function number(value: unknown, at: string, least: number, most: number): number {
  if (typeof value === "number" && value >= least && value <= most) return value + 0;
  throw wrong(at, least === most ? `${least}` : `a number from ${least} to ${most}`, value);
}

function wrong(at: string, expected: string, got: unknown): RequestError {
  return new RequestError(`${at}: expected ${expected} but got ${shown(got)}`);
}

/** Most characters of a value that a message repeats. */
const SHOWN = 40;

function shown(value: unknown): string {
  if (value === undefined) return "nothing";
  if (typeof value === "object" && value !== null) {
    return Array.isArray(value) ? "a list" : "an object";
  }
  const text = typeof value === "string" ? value : String(value);
  return text.length > SHOWN ? `${text.slice(0, SHOWN)}...` : text;
}
