/** Data that cannot be used as it is: missing, contradictory, or made with other settings. */
export class DataError extends Error {
  static {
    this.prototype.name = "DataError";
  }
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** A file that is no image, or one that is cut short or changed. */
export class DamagedImageError extends Error {
  static {
    this.prototype.name = "DamagedImageError";
  }
}
