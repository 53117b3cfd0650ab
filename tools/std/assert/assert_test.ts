import * as std from "@std/assert";
import { AssertionError, equal } from "@std/assert";

// The functions under test cannot vouch for themselves: what they must refuse is caught by hand.
function refuses(fn: () => void, text = ""): void {
  try {
    fn();
  } catch (error) {
    if (error instanceof AssertionError && error.message.includes(text)) return;
    throw new Error(`expected an AssertionError with "${text}"`, { cause: error });
  }
  throw new Error(`expected an AssertionError with "${text}", but nothing was thrown`);
}

async function refusesLater(promise: Promise<unknown>, text = ""): Promise<void> {
  const error = await promise.then(() => undefined, (error) => error);
  refuses(() => {
    if (error !== undefined) throw error;
  }, text);
}

class Point {
  #length = 0;
  constructor(public x: number, length = 0) {
    this.#length = length;
  }
  get length(): number {
    return this.#length;
  }
}

Deno.test("equal() compares structure", () => {
  const ring: Record<string, unknown> = { a: 1 };
  ring["self"] = ring;
  const other: Record<string, unknown> = { a: 1 };
  other["self"] = other;
  const alike: [unknown, unknown][] = [
    [NaN, NaN],
    [0, -0],
    [{ a: [1, { b: null }] }, { a: [1, { b: null }] }],
    [{ a: 1, b: 2 }, { b: 2, a: 1 }],
    [{ ...{ __proto__: null }, a: 1 }, { a: 1 }],
    [new Float32Array([1, NaN]), new Float32Array([1, NaN])],
    [new Uint8Array([1, 2]).buffer, new Uint8Array([1, 2]).buffer],
    [new Date(5), new Date(5)],
    [/a/g, /a/g],
    [new URL("file:///a"), new URL("file:///a")],
    [new Set([1, 2]), new Set([2, 1])],
    [new Set([{ a: 1 }]), new Set([{ a: 1 }])],
    [new Map([["a", [1]]]), new Map([["a", [1]]])],
    [new Map([[{ k: 1 }, 1]]), new Map([[{ k: 1 }, 1]])],
    [new Point(1, 2), new Point(1, 2)],
    [ring, other],
    [Symbol.iterator, Symbol.iterator],
  ];
  for (const [a, b] of alike) {
    if (!equal(a, b) || !equal(b, a)) throw new Error(`not equal: ${Deno.inspect([a, b])}`);
  }
  const unlike: [unknown, unknown][] = [
    [1, "1"],
    [1, 1n],
    [null, undefined],
    [{ a: undefined }, {}],
    [{ a: undefined, b: 1 }, { b: 1, c: undefined }],
    [[1, 2], [2, 1]],
    [[1], { 0: 1 }],
    [[undefined], new Array(1).concat([1])],
    [new Float32Array([1]), new Float32Array([2])],
    [new Float32Array([1]), new Float64Array([1])],
    [new Float32Array([1]), [1]],
    [new Uint8Array([1]).buffer, new Uint8Array([2]).buffer],
    [new Date(5), new Date(6)],
    [/a/g, /a/],
    [new Set([1]), new Set([2])],
    [new Map([["a", 1]]), new Map([["a", 2]])],
    [new Map([["a", undefined]]), new Map([["b", undefined]])],
    [new Point(1, 2), new Point(1, 3)],
    [new Point(1), { x: 1 }],
    [() => 1, () => 1],
    [{ a: 1 }, null],
  ];
  for (const [a, b] of unlike) {
    if (equal(a, b) || equal(b, a)) throw new Error(`equal: ${Deno.inspect([a, b])}`);
  }
});

Deno.test("assertEquals() accepts and refuses", () => {
  std.assertEquals({ a: 1 }, { a: 1 });
  refuses(() => std.assertEquals<unknown>({ a: 1 }, { a: 2 }, "why"), "Values are not equal: why");
});

Deno.test("assert() and assertInstanceOf() accept and refuse", () => {
  std.assert(1);
  refuses(() => std.assert(0, "why"), "why");
  const map: unknown = new Map([[1, 2]]);
  std.assertInstanceOf(map, Map);
  refuses(() => std.assertInstanceOf([], Map), `instance of "Map" but was "Array"`);
  refuses(() => std.assertInstanceOf(null, Map), `but was "null"`);
});

Deno.test("assertAlmostEquals() accepts and refuses", () => {
  std.assertAlmostEquals(0.1 + 0.2, 0.3);
  std.assertAlmostEquals(1, 1.05, 0.1);
  std.assertAlmostEquals(Infinity, Infinity);
  std.assertAlmostEquals(NaN, NaN);
  refuses(() => std.assertAlmostEquals(1, 1.001), `"1" to be close to "1.001e+0"`);
  refuses(() => std.assertAlmostEquals(NaN, 1));
  refuses(() => std.assertAlmostEquals(1e-9, 0));
});

Deno.test("assertMatch() and assertStringIncludes() accept and refuse", () => {
  std.assertMatch("abc", /b/);
  refuses(() => std.assertMatch("abc", /x/), "/x/");
  std.assertStringIncludes("abc", "bc");
  refuses(() => std.assertStringIncludes("abc", "x"), `to contain: "x"`);
});

Deno.test("assertThrows() asks for a class and a message", () => {
  const thrower = (): never => {
    throw new RangeError("\x1b[31mout\x1b[0m of range");
  };
  const error: RangeError = std.assertThrows(thrower, RangeError, "out of range");
  std.assertInstanceOf(error, RangeError);
  std.assertThrows(thrower);
  std.assertThrows(thrower, Error);
  std.assertEquals<unknown>(
    std.assertThrows(() => {
      throw 1;
    }),
    1,
  );
  refuses(() => std.assertThrows(() => 1), "Expected function to throw.");
  refuses(() => std.assertThrows(() => 1, "why"), "Expected function to throw: why");
  refuses(() => std.assertThrows(thrower, TypeError), `"TypeError", but was "RangeError"`);
  refuses(() => std.assertThrows(thrower, RangeError, "other"), `to include "other"`);
  refuses(() =>
    std.assertThrows(() => {
      throw 1;
    }, Error), "non-Error");
});

Deno.test("assertRejects() asks for a promise, a class and a message", async () => {
  const rejecter = () => Promise.reject(new RangeError("out of range"));
  const error: RangeError = await std.assertRejects(rejecter, RangeError, "out of");
  std.assertInstanceOf(error, RangeError);
  await std.assertRejects(rejecter);
  await refusesLater(std.assertRejects(() => Promise.resolve(1)), "Expected function to reject.");
  await refusesLater(std.assertRejects(rejecter, TypeError), `"TypeError", but was "RangeError"`);
  await refusesLater(std.assertRejects(rejecter, RangeError, "other"), `to include "other"`);
  const thrower = (): Promise<never> => {
    throw new Error("too early");
  };
  await refusesLater(std.assertRejects(thrower), "Function throws when expected to reject.");
});
