import { assertEquals } from "@std/assert";
import { Listener, type Server } from "./listener.ts";

Deno.test("a server that ends by itself is started again on its port, until it is shut down", async () => {
  const asked: number[] = [];
  let fail = (_: Error) => {};
  const started: PromiseWithResolvers<void>[] = [];
  const serve = (port: number): Server => {
    asked.push(port);
    if (asked.length === 2) throw new Error("still too many");
    const { promise, reject, resolve } = Promise.withResolvers<void>();
    fail = reject;
    started.shift()?.resolve();
    const shutdown = () => Promise.resolve(resolve());
    return { addr: { hostname: "h", port: 77 }, finished: promise, shutdown };
  };
  const { error } = console;
  const said: unknown[] = [];
  console.error = (text) => said.push(text);
  try {
    const listener = new Listener(serve, 0, 1);
    assertEquals(listener.addr.port, 77);
    const again = Promise.withResolvers<void>();
    started.push(again);
    fail(new Error("Too many open files"));
    await again.promise;
    assertEquals(asked, [0, 77, 77]);
    assertEquals(said, ["listening ended (Too many open files); listening again"]);
    await listener.shutdown();
    await new Promise((resolve) => setTimeout(resolve, 5));
    assertEquals(asked.length, 3);
  } finally {
    console.error = error;
  }
});
