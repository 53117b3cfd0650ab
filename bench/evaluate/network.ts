/** Prints how many images a second Inception takes on the WebAssembly device: `network.ts BATCH`. */
import { init, nn, noGrad, rand, scope } from "@dit/core";
import { InceptionV3 } from "@dit/core/inception";
import { fill } from "../models.ts";

/** Timed passes; the first, which takes memory, does not count. */
const PASSES = 3;

const batch = Number(Deno.args[0] ?? 8);
await init({ device: "wasm" });
const model = fill(nn.withoutInit(() => new InceptionV3()));
let best = Infinity;
for (let pass = 0; pass <= PASSES; pass++) {
  using _ = scope();
  const x = rand([batch, 3, 299, 299]);
  await x.data();
  const start = performance.now();
  await noGrad(() => model.forward(x)).pool.data();
  if (pass > 0) best = Math.min(best, performance.now() - start);
}
console.log(batch / best * 1000);
Deno.exit(0); // its threads wait for work
