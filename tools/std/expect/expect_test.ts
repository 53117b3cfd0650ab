import { assertRejects, assertThrows } from "@std/assert";
import { expect } from "@std/expect";

function fails(ask: () => void): void {
  assertThrows(ask, Error);
}

Deno.test("expect() compares values", () => {
  expect(1).toBe(1);
  expect(NaN).toBe(NaN);
  expect({ a: 1, b: undefined }).toEqual({ a: 1 });
  fails(() => expect({}).toBe({}));
  fails(() => expect(1).not.toBe(1));
  fails(() => expect({ a: 1 }).toEqual({ a: 2 }));
});

Deno.test("expect() compares numbers", () => {
  expect(2).toBeGreaterThan(1);
  expect(1).toBeLessThan(2);
  fails(() => expect(1).toBeGreaterThan(1));
  fails(() => expect(2).not.toBeLessThan(3));
});

Deno.test("expect() asks what a value is", () => {
  expect(new Map()).toBeInstanceOf(Map);
  fails(() => expect([]).toBeInstanceOf(Map));
});

Deno.test("expect() looks into values", () => {
  expect([1, 2]).toContain(2);
  expect("abc").toContain("bc");
  expect("abc").toMatch(/b/);
  fails(() => expect([1]).toContain(2));
  fails(() => expect("abc").toMatch(/x/));
});

Deno.test("expect() asks what a function throws", () => {
  const thrower = (): never => {
    throw new RangeError("out of range");
  };
  expect(thrower).toThrow();
  expect(thrower).toThrow(RangeError);
  expect(thrower).toThrow("of range");
  expect(thrower).toThrow(/^out/);
  expect(() => 1).not.toThrow();
  fails(() => expect(() => 1).toThrow());
  fails(() => expect(thrower).toThrow(TypeError));
  fails(() => expect(thrower).toThrow("other"));
});

Deno.test("expect() waits for promises", async () => {
  await expect(Promise.resolve(1)).resolves.toBe(1);
  await expect(Promise.reject(new Error("no"))).rejects.toThrow("no");
  await assertRejects(async () => await expect(Promise.resolve(1)).rejects.toThrow());
  await assertRejects(async () => await expect(Promise.resolve(1)).resolves.toBe(2));
});
