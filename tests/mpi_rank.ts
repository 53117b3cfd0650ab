/** What a rank of `mpi_test.ts` does; its first argument says what. */
import { assert, assertEquals } from "@std/assert";
import { init } from "@dit/core/tensor";
import { WebGpuBackend } from "../tensor/webgpu/backend.ts";
import { findLauncher } from "../cli/distributed/launcher.ts";
import { MpiWorld } from "../cli/distributed/mpi/world.ts";
import { closeWorld, openWorld } from "../cli/distributed/open.ts";
import type { World } from "../cli/distributed/world.ts";

const [what = ""] = Deno.args;

if (what === "operations") {
  const world = await MpiWorld.join({
    launcher: findLauncher()!,
    patience: 60_000,
    onFailure: (world, message) => world.abort(message, 1),
    mostBytes: 1 << 16, // so that arrays are cut
  });
  try {
    await tryOperations(world);
  } catch (error) {
    world.abort(String(error), 1);
  }
  await world.close();
  console.log(
    `rank ${world.rank} of ${world.size} on ${world.localSize}: fine, ${world.transport}`,
  );
} else {
  const world = await openWorld({ distributed: "mpi" });
  if (world.rank === 1) await (what === "lose" ? loseGpu() : end(what));
  await world.allReduce(new Float32Array(1000)); // without the rank that has ended
  await closeWorld();
  console.log(`rank ${world.rank} is through`); // never
}

async function tryOperations(world: World): Promise<void> {
  const { rank, size } = world;
  const ranks = Array.from({ length: size }, (_, i) => i);

  const memory = new WebAssembly.Memory({ initial: 8, maximum: 8, shared: true });
  const shared = new Float32Array(memory.buffer, 64, 100_003).map((_, i) => rank + i % 7);
  const inMemory = new Float32Array(memory.buffer, 64, 100_003);
  inMemory.set(shared);
  const doubles = Float64Array.from([rank, -rank, 0.1]);
  const integers = Int32Array.from([rank, -rank]);
  await Promise.all([
    world.allReduce(inMemory),
    world.allReduce(doubles, "max"),
    world.allReduce(integers, "min"),
    world.allReduce(new Float32Array(0)),
  ]);
  const sum = ranks.reduce((a, b) => a + b);
  assert(inMemory.every((x, i) => x === sum + size * (i % 7)));
  assertEquals([...doubles], [size - 1, 0, 0.1]);
  assertEquals([...integers], [0, 1 - size]);

  // more than are taken at once, in order
  const many = Array.from({ length: 700 }, (_, i) => Int32Array.of(i));
  await Promise.all(many.map((values) => world.allReduce(values)));
  assert(many.every((values, i) => values[0] === i * size));

  // without a look at the event loop
  const beside = new Int32Array(new SharedArrayBuffer(4)).fill(1);
  const reduced = world.allReduce(beside);
  while (Atomics.load(beside, 0) !== size) { /* computing, until mpirun is told to end it */ }
  await reduced;

  const bytes = new Uint8Array(200_000).fill(rank);
  await world.broadcast(bytes, size - 1);
  assert(bytes.every((byte) => byte === size - 1));
  const gathered = await world.allGather(new TextEncoder().encode("x".repeat(rank)));
  assertEquals(gathered.map(({ length }) => length), ranks);
  await world.barrier();
  assert(world.threads !== null && world.threads >= 1);
}

/** Computes on a GPU that is taken away. */
async function loseGpu(): Promise<void> {
  const { backend } = await init({ device: "webgpu" });
  if (!(backend instanceof WebGpuBackend)) throw new Error("expected WebGPU");
  const buffer = backend.alloc(16, "test");
  backend.runtime.device.destroy();
  for (;;) {
    await backend.read(buffer, "f32", 0, 4);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function end(how: string): Promise<void> {
  switch (how) {
    case "reject":
      Promise.reject(new Error("a bug"));
      return await new Promise((resolve) => setTimeout(resolve, 60_000));
    case "exit":
      Deno.exit(0);
      break;
    case "hang":
      for (;;) { /* whatever it waits for */ }
    case "kill":
      Deno.kill(Deno.pid, "SIGKILL");
      return await new Promise((resolve) => setTimeout(resolve, 60_000));
    default:
      throw new Error(`no way to end ${how}`);
  }
}
