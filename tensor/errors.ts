/**
 * The errors of tensors and devices. Each sets its name explicitly, which identifies it in logs,
 * across workers and in minified code.
 */

/** Shapes that do not fit an op. */
export class ShapeError extends Error {
  static {
    this.prototype.name = "ShapeError";
  }
}

/** Element types that do not fit an op, or do not mix. */
export class DTypeError extends Error {
  static {
    this.prototype.name = "DTypeError";
  }
}

/** Tensors of two devices in one op, or a device that is not there. */
export class DeviceError extends Error {
  static {
    this.prototype.name = "DeviceError";
  }
}

/** A device whose kernels give wrong numbers; names the kernel. */
export class SelfTestError extends Error {
  static {
    this.prototype.name = "SelfTestError";
  }
}

/** A device that stopped working; every tensor on it is gone. */
export class DeviceLostError extends Error {
  static {
    this.prototype.name = "DeviceLostError";
  }
}

/** An allocation the device could not make; names the op and the bytes. */
export class OutOfMemoryError extends Error {
  static {
    this.prototype.name = "OutOfMemoryError";
  }
}

/** A tensor used after its scope closed or after `dispose()`. */
export class UseAfterFreeError extends Error {
  static {
    this.prototype.name = "UseAfterFreeError";
  }
}

/** Scopes that were closed out of order, or left open. */
export class ScopeError extends Error {
  static {
    this.prototype.name = "ScopeError";
  }
}

/** An index outside the range an op allows. */
export class IndexError extends Error {
  static {
    this.prototype.name = "IndexError";
  }
}

/** A gradient that does not exist or cannot be had. */
export class GradientError extends Error {
  static {
    this.prototype.name = "GradientError";
  }
}

/** `[2, 3]` for messages. */
export function shapeText(shape: readonly number[]): string {
  return `[${shape.join(", ")}]`;
}

/** A value of a wrong kind, for messages: `"3"`, `the number 3`, `an object of class Set`. */
export function valueText(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "function") return "a function";
  if (typeof value !== "object") return `the ${typeof value} ${String(value)}`;
  return `an object of class ${value.constructor?.name ?? "Object"}`;
}
