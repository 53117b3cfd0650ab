import { assert, assertEquals, assertThrows } from "@std/assert";
import { tensor } from "./create.ts";
import { init, memory } from "./device.ts";
import { ScopeError, UseAfterFreeError } from "./errors.ts";
import { currentScope, outsideScopes, scope } from "./scope.ts";
import { setDebug } from "./debug.ts";
import type { Tensor } from "./tensor.ts";

const device = await init({ device: "reference" });
const live = () => memory(device).tensors;
const make = () => tensor([1, 2, 3]);

Deno.test("scope() frees what was made inside it, and nothing else", () => {
  const outside = make();
  let inside: Tensor;
  {
    using _ = scope();
    inside = make();
    assertEquals([inside.disposed, outside.disposed], [false, false]);
  }
  assertEquals([inside.disposed, outside.disposed], [true, false]);
  outside.dispose();
  assertEquals(live(), 0);
});

Deno.test("keep() hands tensors to the scope around, or to the caller", () => {
  let twice: Tensor, once: Tensor;
  {
    using outer = scope();
    {
      using inner = scope();
      [twice, once] = inner.keep([make(), make()]) as [Tensor, Tensor];
      assertEquals([twice.scope, once.scope], [outer, outer]);
    }
    assertEquals([twice.disposed, once.disposed], [false, false]);
    outer.keep(twice);
    assertEquals(twice.scope, null);
  }
  assertEquals([twice.disposed, once.disposed], [false, true]);
  twice.dispose();
  assertEquals(live(), 0);
});

Deno.test("keep() hands over tensors with names", () => {
  let sum: { readonly x: Tensor; readonly h: Tensor };
  {
    using inner = scope();
    sum = inner.keep({ x: make(), h: make() });
    make();
  }
  assertEquals([sum.x.disposed, sum.h.disposed, live()], [false, false, 2]);
  for (const tensor of Object.values(sum)) tensor.dispose();
});

Deno.test("keep() of what belongs further out, or to no scope, changes nothing", () => {
  const free = make();
  {
    using outer = scope();
    const mine = make();
    {
      using inner = scope();
      assertEquals(inner.keep(mine), mine);
      inner.keep([free, mine]);
      assertEquals([mine.scope, free.scope], [outer, null]);
      inner.keep(mine); // a second time
    }
    assertEquals(mine.disposed, false);
  }
  assertEquals(free.disposed, false);
  free.dispose();
  assertEquals(live(), 0);
});

Deno.test("dispose() before the scope closes, and twice, is harmless", () => {
  {
    using s = scope();
    const t = make();
    t.dispose();
    t.dispose();
    assertEquals(s.owned.size, 0);
  }
  assertEquals(live(), 0);
});

Deno.test("a scope closes once; what is made after it belongs to the one around", () => {
  using outer = scope();
  const inner = scope();
  assertEquals([inner.parent, currentScope()], [outer, inner]);
  inner[Symbol.dispose]();
  inner[Symbol.dispose]();
  assertEquals([inner.open, currentScope()], [false, outer]);
  assertEquals(make().scope, outer);
});

Deno.test("a scope left open is an error that names both", () => {
  const outer = scope("the training step");
  const inner = scope("sampling");
  const t = make();
  const { message } = assertThrows(() => outer[Symbol.dispose](), ScopeError) as ScopeError;
  assert(message.includes("the training step closed while scopes opened after it were open"));
  assert(message.includes("(sampling)"), message);
  // the one left open is as it was, and can still close
  assertEquals([t.disposed, currentScope()], [false, inner]);
  inner[Symbol.dispose]();
  assertEquals([t.disposed, currentScope(), live()], [true, null, 0]);
});

Deno.test("several scopes left open can close in any order", () => {
  const scopes = [scope("a"), scope("b"), scope("c")];
  const tensors = scopes.map((s) => {
    const t = make();
    s.adopt(t);
    return t;
  });
  assertThrows(() => scopes[0]![Symbol.dispose](), ScopeError, "(c, b)");
  assertThrows(() => scopes[1]![Symbol.dispose](), ScopeError, "(c)");
  scopes[2]![Symbol.dispose]();
  assertEquals(currentScope(), null);
  tensors.forEach((t) => t.dispose());
  assertEquals(live(), 0);
});

Deno.test("asynchronous tasks whose scopes interleave get an error, not freed tensors", async () => {
  const task = async (name: string, before: number, after: number) => {
    const s = scope(name);
    const t = make();
    for (let i = 0; i < before; i++) await Promise.resolve();
    const alive = !t.disposed;
    let error: unknown;
    try {
      s[Symbol.dispose]();
    } catch (caught) {
      error = caught;
    }
    for (let i = 0; i < after; i++) await Promise.resolve();
    return { alive, error };
  };
  // the first to open is the first to close
  const [first, second] = await Promise.all([task("first", 2, 0), task("second", 4, 0)]);
  assertEquals([first!.alive, second!.alive], [true, true]);
  assert(first!.error instanceof ScopeError);
  assert(first!.error.message.includes("first") && first!.error.message.includes("(second)"));
  assertEquals(second!.error, undefined);
  // the last to open is the first to close: nothing was mixed up
  const [outer, inner] = await Promise.all([task("outer", 4, 0), task("inner", 2, 0)]);
  assertEquals([outer!.error, inner!.error, live()], [undefined, undefined, 0]);
});

Deno.test("a tensor that another task's scope took in names that it was freed", async () => {
  const first = async () => {
    using _ = scope("first");
    await Promise.resolve();
    const t = make(); // belongs to "second", which is innermost by now
    await Promise.resolve();
    return assertThrows(() => t.view("add"), UseAfterFreeError) as UseAfterFreeError;
  };
  const second = async () => {
    using _ = scope("second");
    await Promise.resolve();
  };
  const [error] = await Promise.all([first(), second()]);
  assert(error.message.startsWith("add: a tensor of shape [3] was used after it was freed"));
  assertEquals(live(), 0);
});

Deno.test("outsideScopes() makes things that belong to no scope, also after an error", () => {
  {
    using s = scope();
    const t = outsideScopes(make);
    assertEquals([t.scope, currentScope()], [null, s]);
    assertThrows(() =>
      outsideScopes(() => {
        throw new RangeError("inside");
      }), RangeError);
    assertEquals(currentScope(), s);
    t.dispose();
  }
  assertEquals(live(), 0);
});

Deno.test("a scope closes when its block is left by an error", () => {
  assertThrows(() => {
    using _ = scope();
    make();
    throw new RangeError("inside");
  }, RangeError);
  assertEquals([live(), currentScope()], [0, null]);
});

Deno.test("in debug mode a scope says where it was opened", () => {
  setDebug(true);
  try {
    const outer = scope("outer");
    const inner = scope("inner");
    const { message } = assertThrows(() => outer[Symbol.dispose](), ScopeError) as ScopeError;
    assert(message.includes("scope_test.ts"), message);
    inner[Symbol.dispose]();
  } finally {
    setDebug(false);
  }
});

Deno.test("a closed scope takes nothing in", () => {
  const s = scope();
  s[Symbol.dispose]();
  const t = make();
  assertThrows(() => s.adopt(t), ScopeError, "expected an open one");
  t.dispose();
});
