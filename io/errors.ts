/** A file that is not what it should be: truncated, corrupt, contradictory or not trusted. */
export class FormatError extends Error {
  static {
    this.prototype.name = "FormatError";
  }
  /** The file, or whatever name its source was given. */
  readonly file: string;
  /** Where in the file: a byte offset, a tensor, an archive entry. */
  readonly place: string;
  /** What the format, or the rest of the file, asks for. */
  readonly expected: string;
  /** What is there. */
  readonly found: string;

  /** The message is `file: place: expected ... but found ...`. */
  constructor(file: string, place: string, expected: string, found: string) {
    super(`${file}: ${place}: expected ${expected} but found ${found}`);
    this.file = file;
    this.place = place;
    this.expected = expected;
    this.found = found;
  }
}

/** `text` in quotes, cut short and with control characters escaped, for messages. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? text.slice(0, 77) + "..." : text);
}
