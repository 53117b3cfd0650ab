/** The address of a view with its parameters, after the `#`: `#/draw?model=demo&labels=3,7&seed=42`. */
import type { Parameters } from "./parameters.ts";

/** The views of the page. */
export const VIEWS = ["draw", "gallery", "runs", "train"] as const;

/** One of {@link VIEWS}. */
export type View = typeof VIEWS[number];

/** What each parameter is read as. */
const KINDS: Readonly<Record<keyof Parameters, "word" | "number" | "numbers">> = {
  model: "word",
  mode: "word",
  labels: "numbers",
  otherLabel: "number",
  seed: "number",
  otherSeed: "number",
  count: "number",
  around: "number",
  strength: "number",
  frames: "number",
  sampler: "word",
  steps: "number",
  eta: "number",
  guidance: "number",
  interval: "numbers",
};

/** Parameters that only one mode has. */
const ONLY: Readonly<Partial<Record<keyof Parameters, readonly Parameters["mode"][]>>> = {
  otherLabel: ["classes"],
  otherSeed: ["seeds"],
  count: ["pictures"],
  around: ["variations"],
  strength: ["variations"],
  frames: ["seeds", "classes"],
};

/** What follows the `#`; only what matters to the mode is in it. */
export function addressOf(view: View, parameters: Parameters | null): string {
  if (parameters === null || view !== "draw") return `#/${view}`;
  const pairs = (Object.keys(KINDS) as (keyof Parameters)[])
    .filter((name) => ONLY[name]?.includes(parameters.mode) ?? true)
    .map((name) => [name, textOf(parameters[name])] as const)
    .filter(([, text]) => text !== "")
    .map(([name, text]) => `${name}=${encodeURIComponent(text).replaceAll("%2C", ",")}`);
  return `#/draw?${pairs.join("&")}`;
}

function textOf(value: Parameters[keyof Parameters]): string {
  return Array.isArray(value) ? value.join(",") : String(value ?? "");
}

/**
 * Reads an address: the view, and what of the parameters it says, which nothing has been checked of
 * but that numbers are numbers. An unknown view is the first one.
 */
export function readAddress(hash: string): { view: View; raw: Record<string, unknown> } {
  const [path = "", query = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const raw: Record<string, unknown> = {};
  const given = new URLSearchParams(query);
  for (const [name, kind] of Object.entries(KINDS)) {
    const text = given.get(name);
    if (text === null || text === "") continue;
    if (kind === "word") raw[name] = text;
    else {
      const numbers = text.split(",").map((one) => one.trim() === "" ? NaN : Number(one));
      if (numbers.every(Number.isFinite)) raw[name] = kind === "numbers" ? numbers : numbers[0];
    }
  }
  if (given.size > 0) { // what a short address leaves out
    raw["interval"] ??= null;
    raw["mode"] ??= "pictures";
  }
  return { view: VIEWS.find((view) => view === path) ?? "draw", raw };
}
