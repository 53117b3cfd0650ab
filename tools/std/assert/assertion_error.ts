/** What every failed assertion throws. */
export class AssertionError extends Error {
  override name = "AssertionError";
}

/** `: why` when the caller said why, else the full stop that ends the sentence. */
export function because(msg: string | undefined): string {
  return msg ? `: ${msg}` : ".";
}

/** A value as the messages show it: whole, keys sorted, so that equal values read alike. */
export function show(value: unknown): string {
  return Deno.inspect(value, {
    depth: Infinity,
    sorted: true,
    trailingComma: true,
    compact: false,
    iterableLimit: Infinity,
    strAbbreviateSize: Infinity,
  });
}
