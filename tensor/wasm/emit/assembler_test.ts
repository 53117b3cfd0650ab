import { assert, assertEquals } from "@std/assert";
import { F32, F64, Func, I32, I64, Module, signed, unsigned, V128 } from "./assembler.ts";
import { DeviceMemory } from "../device/memory.ts";

const { memory } = new DeviceMemory();
const AT = 256;

/** The export `run` of a module with one function. */
function compile(f: Func): (...args: (number | bigint)[]) => unknown {
  const module = new Module();
  module.add(f);
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module.bytes()), {
    env: { memory },
  });
  return exports[f.name] as (...args: (number | bigint)[]) => unknown;
}

/** What four lanes of the function hold when it stores its result at `AT`. */
function lanes(emit: (f: Func) => void): Int32Array {
  const f = new Func("run", []);
  f.i64const(AT);
  emit(f);
  f.vmem("store");
  compile(f)();
  return new Int32Array(memory.buffer, AT, 4).slice();
}

function floats(emit: (f: Func) => void): Float32Array {
  return new Float32Array(lanes(emit).buffer);
}

Deno.test("unsigned() writes LEB128 of small and large numbers", () => {
  assertEquals(unsigned(0), [0]);
  assertEquals(unsigned(127), [127]);
  assertEquals(unsigned(128), [128, 1]);
  assertEquals(unsigned(624485), [0xe5, 0x8e, 0x26]);
  assertEquals(unsigned(2 ** 40), [128, 128, 128, 128, 128, 32]);
});

Deno.test("signed() writes LEB128 with the sign in the last byte", () => {
  assertEquals(signed(0), [0]);
  assertEquals(signed(-1), [0x7f]);
  assertEquals(signed(63), [63]);
  assertEquals(signed(64), [0xc0, 0]);
  assertEquals(signed(-64), [0x40]);
  assertEquals(signed(-123456), [0xc0, 0xbb, 0x78]);
});

Deno.test("constants of every type arrive whole", () => {
  for (const value of [0, 1, -1, 2 ** 31 - 1, -(2 ** 31), 12345678]) {
    assertEquals(compile(new Func("run", [], [I32]).i32const(value))(), value);
  }
  for (const value of [0, -1, 2 ** 40, -(2 ** 40), Number.MAX_SAFE_INTEGER]) {
    assertEquals(compile(new Func("run", [], [I64]).i64const(value))(), BigInt(value));
  }
  assertEquals(compile(new Func("run", [], [F32]).f32const(0.1))(), Math.fround(0.1));
  assertEquals(compile(new Func("run", [], [F64]).f64const(0.1))(), 0.1);
});

Deno.test("loops run as often as they should, even never", () => {
  for (const [count, sum] of [[0, 0], [1, 0], [5, 10], [-3, 0]] as const) {
    const f = new Func("run", [I64, I32], [I32]);
    const i = f.local(I64), total = f.local(I32);
    f.for64(i, 0, 1, () => f.get(total).get(i).i32("wrap_i64").i32("add").set(total));
    assertEquals(compile(f.get(total))(BigInt(count), 0), sum);

    const g = new Func("run", [I32], [I32]);
    const j = g.local(I32), also = g.local(I32);
    g.for32(j, 0, 1, () => g.get(also).get(j).i32("add").set(also));
    assertEquals(compile(g.get(also))(count), sum);
  }
});

Deno.test("if() takes both branches and can leave a value", () => {
  const f = new Func("run", [I32], [I32]);
  f.get(0).if(() => f.i32const(7), () => f.i32const(9), I32);
  const run = compile(f);
  assertEquals([run(1), run(0)], [7, 9]);
});

Deno.test("select() keeps the first of two where the condition holds", () => {
  const run = compile(new Func("run", [I32], [I32]).i32const(3).i32const(4).get(0).select());
  assertEquals([run(1), run(0)], [3, 4]);
});

Deno.test("call() reaches functions added before", () => {
  const module = new Module();
  const double = module.add(new Func("", [I32], [I32]).get(0).get(0).i32("add"));
  const run = module.add(new Func("run", [I32], [I32]));
  run.get(0).call(double).call(double);
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module.bytes()), {
    env: { memory },
  });
  assertEquals(Object.keys(exports), ["run"]);
  assertEquals((exports["run"] as (x: number) => number)(3), 12);
});

Deno.test("prologue() code runs before all other, wherever it is written", () => {
  const f = new Func("run", [], [I32]);
  const value = f.local(I32);
  f.get(value);
  f.prologue(() => f.i32const(42).set(value));
  assertEquals(compile(f)(), 42);
});

Deno.test("vector constants, shuffles and lane operations keep their order", () => {
  assertEquals([...lanes((f) => f.i32x4lanes(1, -2, 3, -4))], [1, -2, 3, -4]);
  assertEquals([...floats((f) => f.f32x4const(1.5))], [1.5, 1.5, 1.5, 1.5]);
  assertEquals(
    [...lanes((f) => f.i32x4lanes(0, 1, 2, 3).i32x4lanes(4, 5, 6, 7).shuffle32([7, 0, 5, 2]))],
    [7, 0, 5, 2],
  );
  assertEquals(
    [...lanes((f) => f.i32x4lanes(0, 1, 2, 3).i32const(9).i32x4replace(2))],
    [0, 1, 9, 3],
  );
  const extract = new Func("run", [], [I32]).i32x4lanes(5, 6, 7, 8).i32x4extract(3);
  assertEquals(compile(extract)(), 8);
});

Deno.test("vector arithmetic works lane by lane", () => {
  const a = (f: Func) => f.i32x4lanes(1, 2, 3, 4).f32x4("convert_i32x4_s");
  assertEquals([...floats((f) => a(a(f)).f32x4("mul"))], [1, 4, 9, 16]);
  assertEquals([...floats((f) => a(a(a(f))).f32x4("relaxed_madd"))], [2, 6, 12, 20]);
  assertEquals([...floats((f) => a(a(a(f))).f32x4("relaxed_nmadd"))], [0, -2, -6, -12]);
  assertEquals([...lanes((f) => a(f).f32x4const(2).f32x4("gt"))], [0, 0, -1, -1]);
  assertEquals([...lanes((f) => f.i32x4const(-8).i32const(1).i32x4("shr_s"))], [-4, -4, -4, -4]);
});

Deno.test("lane loads and stores touch only their lane", () => {
  new Int32Array(memory.buffer, 512, 4).set([10, 20, 30, 40]);
  assertEquals(
    [...lanes((f) => f.i64const(512).i32x4const(1).vlane("load32_lane", 2, 8))],
    [1, 1, 30, 1],
  );
  const f = new Func("run", []);
  f.i64const(512).i32x4lanes(1, 2, 3, 4).vlane("store32_lane", 1, 4);
  compile(f)();
  assertEquals([...new Int32Array(memory.buffer, 512, 4)], [10, 2, 30, 40]);
});

Deno.test("atomicAdd() returns what was there before", () => {
  const f = new Func("run", [], [I32]).i64const(768).i32const(5).atomicAdd();
  const run = compile(f);
  new Int32Array(memory.buffer, 768, 1)[0] = 100;
  assertEquals([run(), run()], [100, 105]);
});

Deno.test("memory.fill and memory.copy move whole ranges", () => {
  const f = new Func("run", []);
  f.i64const(1024).i32const(7).i64const(16).memoryFill();
  f.i64const(1040).i64const(1024).i64const(16).memoryCopy();
  compile(f)();
  assertEquals([...new Uint8Array(memory.buffer, 1024, 32)], new Array(32).fill(7));
});

Deno.test("every instruction in the tables is a valid one", () => {
  // Each takes its operands from locals of the right types; a wrong opcode does not validate.
  const f = new Func("run", []);
  const v = f.local(V128);
  for (
    const op of ["load16x4_s", "load16x4_u", "load8x8_u", "load32_splat", "load64_splat"] as const
  ) {
    f.i64const(AT).vmem(op).set(v);
  }
  for (const op of ["load32_zero", "load64_zero"] as const) f.i64const(AT).vmem(op).set(v);
  for (const op of ["load8_lane", "load16_lane", "load32_lane", "load64_lane"] as const) {
    f.i64const(AT).get(v).vlane(op, 1).set(v);
  }
  for (const op of ["store8_lane", "store16_lane", "store32_lane", "store64_lane"] as const) {
    f.i64const(AT).get(v).vlane(op, 1);
  }
  for (const op of ["extmul_low_i32x4_u", "extmul_high_i32x4_u", "mul", "add"] as const) {
    f.get(v).get(v).i64x2(op).set(v);
  }
  for (const op of ["narrow_i32x4_s", "narrow_i32x4_u"] as const) f.get(v).get(v).i16x8(op).set(v);
  for (const op of ["narrow_i16x8_s", "narrow_i16x8_u", "swizzle"] as const) {
    f.get(v).get(v).i8x16(op).set(v);
  }
  for (const op of ["extend_low_i8x16_u", "extend_high_i8x16_u"] as const) {
    f.get(v).i16x8(op).set(v);
  }
  for (const op of ["trunc_sat_f32x4_s", "trunc_sat_f32x4_u", "extend_low_i16x8_s"] as const) {
    f.get(v).i32x4(op).set(v);
  }
  for (const op of ["min", "max", "pmin", "pmax", "div", "eq", "le", "ge", "ne"] as const) {
    f.get(v).get(v).f32x4(op).set(v);
  }
  for (const op of ["sqrt", "floor", "ceil", "trunc", "nearest", "abs", "neg"] as const) {
    f.get(v).f32x4(op).set(v);
  }
  const module = new Module();
  module.add(f);
  assert(WebAssembly.validate(module.bytes()));
});
