import { assert, assertEquals, assertThrows } from "@std/assert";
import { setDebug } from "./debug.ts";
import { computeType, constant, elementIndex, Expr, program, type Slot } from "./expr.ts";

const input = (ty: Slot["ty"]): Slot => ({ kind: "input", ty });

Deno.test("numbers take the type of their partner; types do not mix", () => {
  const x = new Expr({ kind: "input", index: 0, ty: "i32" });
  const { node } = x.add(2);
  assert(node.kind === "binary" && node.b.node.kind === "const");
  assertEquals([node.ty, node.b.ty], ["i32", "i32"]);
  assertThrows(() => x.add(constant(1)), TypeError, "of one type but got i32 and f32");
  assertThrows(() => x.eq(0).select(1, 2), TypeError, "select: expected");
  assertThrows(() => x.eq(0).select(x, constant(1)), TypeError, "i32 and f32");
});

Deno.test("comparisons are bool, conversions to the same type nothing", () => {
  const x = constant(1);
  assertEquals(x.lt(2).ty, "bool");
  assertEquals(x.lt(2).select(x, 0).ty, "f32");
  assertEquals(x.to("f32"), x);
  assertEquals(x.bits("f32"), x);
  assertEquals([x.to("u32").ty, x.bits("u32").ty, elementIndex().ty], ["u32", "u32", "u32"]);
});

Deno.test("program() is built once for a function and its slot types", () => {
  let built = 0;
  const build = (a?: Expr, b?: Expr) => {
    built++;
    return a!.add(b!);
  };
  const first = program("add", [input("f32"), input("f32")], build);
  assert(program("add", [input("f32"), input("f32")], build) === first);
  const scalar: Slot = { kind: "scalar", ty: "f32" };
  const second = program("add", [input("f32"), scalar], build);
  assert(second.key !== first.key);
  assertEquals([first.inputs, first.scalars], [["f32", "f32"], []]);
  assertEquals([second.inputs, second.scalars], [["f32"], ["f32"]]);
  assertEquals(built, 2);
});

Deno.test("program() goes by what is built, not by its name or by who builds it", () => {
  const one = (name: string, build: (...args: Expr[]) => Expr | Expr[]) =>
    program(name, [input("f32"), input("f32")], build);
  const sum = one("sum", (a, b) => a!.add(b!));
  assert(one("total", (a, b) => a!.add(b!)) === sum);
  const others: ((...args: Expr[]) => Expr | Expr[])[] = [
    (a, b) => b!.add(a!),
    (a, b) => a!.sub(b!),
    (a) => a!.add(a!),
    (a, b) => [a!.add(b!), a!],
    (a, b) => [a!, a!.add(b!)],
    (a) => a!,
    (a) => a!.add(1),
    (a) => a!.lt(1),
    (a) => a!.lt(1).to("f32"),
    (a) => a!.lt(1).select(a!, 0),
    (a) => a!.lt(1).select(0, a!),
    (a) => a!.bits("u32"),
    (a) => a!.to("u32"),
    (a) => a!.to("i32"),
    () => elementIndex(),
    ...[0, -0, NaN, Infinity, -Infinity, 1, -1, 0.1, 0.1 + 2 ** -56, 1e21].flatMap((value) => [
      () => constant(value),
      (a?: Expr) => a!.max(value),
    ]),
    ...(["bool", "i32", "u32"] as const).map((ty) => () => constant(1, ty)),
  ];
  const keys = [sum, ...others.map((build) => one("sum", build))].map(({ key }) => key);
  assertEquals(new Set(keys).size, keys.length);
});

Deno.test("program() in debug mode finds a function that builds something else", () => {
  let plus = 1;
  const build = (x?: Expr) => x!.add(plus);
  const first = program("add", [input("f32")], build);
  setDebug(true);
  try {
    assert(program("add", [input("f32")], build) === first);
    plus = 2;
    assertThrows(() => program("add", [input("f32")], build), Error, "a function of its own");
  } finally {
    setDebug(false);
  }
});

Deno.test("program() goes by the types of slots and their order", () => {
  const slot = (kind: Slot["kind"], ty: Slot["ty"]): Slot => ({ kind, ty });
  const first = (a?: Expr) => a!;
  const lists: Slot[][] = [
    [slot("input", "f32")],
    [slot("scalar", "f32")],
    [slot("input", "i32")],
    [slot("input", "f32"), slot("input", "f32")],
    [slot("input", "f32"), slot("input", "u32")],
    [slot("input", "f32"), slot("scalar", "f32")],
  ];
  const keys = lists.map((slots) => program("first", slots, first).key);
  assertEquals(new Set(keys).size, keys.length);
  assertEquals(lists.map((slots) => program("again", slots, (a) => a!).key), keys);
});

Deno.test("program() gives bool results as 0 and 1", () => {
  const { outs } = program("expr_test:positive", [input("f32")], (x) => [x!.gt(0), x!]);
  assertEquals(outs.map((out) => out.ty), ["u32", "f32"]);
});

Deno.test("computeType() computes halves as f32 and bytes as u32", () => {
  const types = (["f32", "f16", "i32", "u32", "u8"] as const).map(computeType);
  assertEquals(types, ["f32", "f32", "i32", "u32", "u32"]);
});
