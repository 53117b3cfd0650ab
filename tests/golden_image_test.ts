/** Cropping, sampling output and decoding against the original's pixels. */
import { assert, assertEquals } from "@std/assert";
import { type HostTensor, loadSafetensors } from "../io/mod.ts";
import { centerCrop } from "../data/crop.ts";
import { normalizeInto } from "../data/dataset.ts";
import { decodeImage } from "../data/decode.ts";
import { type ByteImage, makeGrid, toPixels } from "../data/byte_image.ts";
import { imagesBlocked } from "../data/image_test_util.ts";
import { encodePng } from "../data/png.ts";
import { goldenTest } from "./fixtures.ts";
import { goldenJson } from "./goldens.ts";

function picture({ data, shape }: HostTensor): ByteImage {
  const [height, width, channels] = shape as [number, number, number];
  return { pixels: data, channels, height, width };
}

function floats({ data }: HostTensor): Float32Array<ArrayBuffer> {
  return new Float32Array(data.slice().buffer);
}

goldenTest(
  "centerCrop() gives the original's pixels, and normalising them its numbers",
  ["image/center_crop.safetensors", "image/center_crop.json"],
  async ([path]) => {
    const tensors = await loadSafetensors(path!);
    const { cases } = await goldenJson<{ cases: { index: number; image_size: number }[] }>(
      "image/center_crop.json",
    );
    for (const { index, image_size } of cases) {
      const got = centerCrop(picture(tensors.get(`${index}/input`)!), image_size);
      assertEquals(got, picture(tensors.get(`${index}/output`)!), `case ${index}`);
      const out = new Float32Array(got.pixels.length);
      normalizeInto(out, got.pixels, got);
      assertEquals(out, floats(tensors.get(`${index}/normalized`)!), `case ${index}`);
      normalizeInto(out, got.pixels, got, true);
      assertEquals(out, floats(tensors.get(`${index}/normalized_flipped`)!), `case ${index}`);
    }
  },
);

goldenTest(
  "toPixels() and makeGrid() give the bytes of sample_ddp.py and save_image",
  ["image/output.safetensors"],
  async ([path]) => {
    const tensors = await loadSafetensors(path!);
    const stored = tensors.get("samples")!;
    const [, channels, height, width] = stored.shape as [number, number, number, number];
    const shape = { channels, height, width };
    const samples = floats(stored);
    assertEquals(toPixels(samples, shape), tensors.get("ddp_u8")!.data);
    for (const columns of [2, 4, 8]) {
      const grid = makeGrid(samples, shape, { columns });
      assertEquals(grid, picture(tensors.get(`grid${columns}_u8`)!), `${columns} columns`);
    }
    const single = makeGrid(samples.slice(0, channels * height * width), shape);
    assertEquals(single, picture(tensors.get("grid_single_u8")!));
  },
);

/** A test that decodes images, which plain `deno test` may not. */
function decodingTest(...[name, files, run]: Parameters<typeof goldenTest>): void {
  if (imagesBlocked === undefined) goldenTest(name, files, run);
  else Deno.test({ name: `${name} (${imagesBlocked})`, ignore: true, fn() {} });
}

decodingTest(
  "decodeImage() gives the pixels that Pillow's convert(RGB) gives",
  ["image/png_rgb.safetensors", "image/png"],
  async ([path, folder]) => {
    for (const [name, expected] of await loadSafetensors(path!)) {
      const file = name.includes(".") ? name : `${name}.png`;
      const got = await decodeImage(await Deno.readFile(`${folder}/${file}`));
      // Decoders of JPEG may differ by a few levels.
      const limit = file.endsWith(".jpg") ? 4 : 0;
      const want = picture(expected);
      assertEquals({ ...got, pixels: want.pixels }, want, file);
      assert(got.pixels.every((v, i) => Math.abs(v - want.pixels[i]!) <= limit), file);
    }
  },
);

decodingTest(
  "the PNG files that save_image and sample_ddp.py wrote hold the pixels they would here",
  ["image/output.safetensors", "image/grid4.png", "image/sample_000001.png"],
  async ([path, grid, sample]) => {
    const tensors = await loadSafetensors(path!);
    const read = async (file: string): Promise<ByteImage> =>
      await decodeImage(await Deno.readFile(file));
    assertEquals(await read(grid!), picture(tensors.get("grid4_u8")!));
    const { data, shape } = tensors.get("ddp_u8")!;
    const [, height, width, channels] = shape as [number, number, number, number];
    const length = height * width * channels;
    const second = { pixels: data.slice(length, 2 * length), height, width, channels };
    assertEquals(await read(sample!), second);
    const { pixels } = second;
    const again = await decodeImage(await encodePng(pixels, width, height, channels));
    assertEquals(again, second);
  },
);
