import { assertEquals } from "@std/assert";
import { slice } from "@dit/core/autograd";
import { Generator, randn, scope, withGenerator } from "@dit/core/tensor";
import { AutoencoderKL } from "@dit/core/vae";
import { eachDevice } from "../../tests/devices.ts";
import { encodeImages } from "./encode_images.ts";

eachDevice("ranks draw the latents of their images that one process draws", async () => {
  const options = { blockOutChannels: [2, 2, 2, 2, 2, 2], normNumGroups: 1, layersPerBlock: 1 };
  using vae = withGenerator(new Generator(1), () => new AutoencoderKL(options));
  using _ = scope();
  // so large that they go through one at a time
  const images = randn([4, 3, 544, 544], { generator: new Generator(2) });
  const alone = new Generator(3);
  const whole = Array.from(await encodeImages(vae, images, alone).data());
  const shares: number[] = [];
  for (const index of [0, 1]) {
    const generator = new Generator(3, 0, { index, of: 2 });
    const own = slice(images, 0, { start: 2 * index, end: 2 * index + 2 });
    for (const value of await encodeImages(vae, own, generator).data()) shares.push(value);
    assertEquals(generator.offset, alone.offset);
  }
  assertEquals(shares, whole);
}, ["wasm"]);
