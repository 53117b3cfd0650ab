import { assert, assertEquals, assertRejects } from "@std/assert";
import { crc32 } from "node:zlib";
import { decodeImage } from "./decode.ts";
import { DamagedImageError } from "./errors.ts";
import { encoder, imageTest } from "./image_test_util.ts";
import type { ByteImage } from "./byte_image.ts";
import { encodePng } from "./png.ts";

type Colour = readonly [red: number, green: number, blue: number];
const COLOURS: readonly Colour[] = [[220, 30, 30], [20, 200, 40], [30, 60, 210], [240, 240, 240]];
const RAW = { width: 32, height: 16, channels: 3 };

/** Four fields of one colour each, 16 x 8: red and green above, blue and white below. */
const FIELDS = Uint8Array.from({ length: 32 * 16 * 3 }, (_, i) => {
  const [x, y] = [Math.floor(i / 3) % 32, Math.floor(i / 96)];
  return COLOURS[2 * Number(y >= 8) + Number(x >= 16)]![i % 3]!;
});

/** The colours in the middle of a picture's four fields. */
function fields({ pixels, width, height, channels }: ByteImage): number[][] {
  assertEquals(channels, 3);
  return [[1, 1], [3, 1], [1, 3], [3, 3]].map(([x, y]) => {
    const at = 3 * (y! * height / 4 * width + x! * width / 4);
    return [...pixels.subarray(at, at + 3)];
  });
}

/** Refuses pictures that are off by more than `limit`. */
function assertFields(picture: ByteImage, order: readonly number[], limit: number): void {
  const got = fields(picture);
  order.forEach((colour, i) => {
    COLOURS[colour]!.forEach((want, c) => {
      assert(Math.abs(got[i]![c]! - want) <= limit, `field ${i}: ${got[i]} for ${COLOURS[colour]}`);
    });
  });
}

imageTest("PNG files of every number of channels are decoded to what was encoded", async () => {
  for (const channels of [1, 2, 3, 4]) {
    for (const [width, height] of [[1, 1], [7, 5]] as const) {
      const encoded = Uint8Array.from({ length: width * height * channels }, (_, i) => i * i);
      const got = await decodeImage(await encodePng(encoded, width, height, channels));
      assertEquals([got.width, got.height, got.channels], [width, height, 3]);
      const gray = channels < 3;
      for (let i = 0; i < got.pixels.length; i++) {
        const [pixel, c] = [Math.floor(i / 3), gray ? 0 : i % 3];
        assertEquals(got.pixels[i], encoded[pixel * channels + c], `${channels} channels, ${i}`);
      }
    }
  }
});

imageTest("JPEG files are decoded, baseline and progressive", async () => {
  const sharp = await encoder();
  for (const progressive of [false, true]) {
    const bytes = await sharp(FIELDS, { raw: RAW }).toFormat("jpeg", { progressive }).toBuffer();
    const picture = await decodeImage(bytes);
    assertEquals([picture.width, picture.height], [32, 16]);
    assertFields(picture, [0, 1, 2, 3], 6);
  }
});

imageTest("WebP files are decoded, with loss and without", async () => {
  const sharp = await encoder();
  const encode = (lossless: boolean) =>
    sharp(FIELDS, { raw: RAW }).toFormat("webp", { lossless }).toBuffer();
  assertEquals((await decodeImage(await encode(true))).pixels, FIELDS);
  assertFields(await decodeImage(await encode(false)), [0, 1, 2, 3], 12);
});

imageTest("of an animated GIF the first frame counts", async () => {
  const sharp = await encoder();
  const frame = (i: number) =>
    Uint8Array.from({ length: 8 * 4 * 3 }, (_, c) => COLOURS[i]![c % 3]!);
  const frames = await Promise.all([0, 1, 2].map((i) => encodePng(frame(i), 8, 4, 3)));
  const bytes = await sharp(frames, { join: { animated: true } }).toFormat("gif").toBuffer();
  const { pixels, width, height } = await decodeImage(bytes);
  assertEquals([width, height], [8, 4]);
  pixels.forEach((v, i) => assert(Math.abs(v - COLOURS[0]![i % 3]!) <= 8, `${v} at ${i}`));
});

imageTest("of 16-bit PNG files the upper 8 bits count", async () => {
  const sharp = await encoder();
  const values = Uint16Array.of(0x1234, 0xabcd, 0xffff, 0x00ff, 0x80ff, 0xff00);
  const raw = { width: 2, height: 1, channels: 3 };
  const rgb = await sharp(values, { raw }).toColourspace("rgb16").toFormat("png").toBuffer();
  assertEquals(rgb[24], 16, "bits a channel, in the file's header");
  assertEquals([...(await decodeImage(rgb)).pixels], [...values].map((v) => v >> 8));
  const one = { width: 6, height: 1, channels: 1 };
  const gray = await sharp(values, { raw: one }).toColourspace("grey16").toFormat("png").toBuffer();
  assertEquals(gray[24], 16);
  const three = [...values].flatMap((v) => [v >> 8, v >> 8, v >> 8]);
  assertEquals([...(await decodeImage(gray)).pixels], three);
});

/**
 * A JPEG by Pillow 9.4 of four fields of 8x8, of cyan, magenta, yellow and black ink: (255, 0, 0, 0),
 * (0, 255, 255, 0), (0, 0, 0, 255), (40, 120, 200, 90).
 */
const CMYK_JPEG = Uint8Array.fromBase64(
  "/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwACAQEBAQECAQEBAgICAgIEAwICAgIFBAQDBAYFBgYGBQYGBgcJCAYHCQcGBggL" +
    "CAkKCgoKCgYICwwLCgwJCgoK/8AAFAgACAAgBEMRAE0RAFkRAEsRAP/EABcAAQEBAQAAAAAAAAAAAAAAAAoJAAj/xAAU" +
    "EAEAAAAAAAAAAAAAAAAAAAAA/9oADgRDAE0AWQBLAAA/AD/r+L+L+H+ABgBsx/h/gAbl9B8N8pR//9k=",
);

imageTest("CMYK JPEG files become RGB as Pillow makes it, not by a profile", async () => {
  const ycck = CMYK_JPEG.slice();
  ycck[17] = 2; // Adobe's transform: the first three are luminance and colour differences
  const colours = async (bytes: Uint8Array) => {
    const { pixels, width, height, channels } = await decodeImage(bytes);
    assertEquals([width, height, channels], [32, 8, 3]);
    return [4, 12, 20, 28].map((x) => [...pixels.subarray(3 * (4 * 32 + x)).subarray(0, 3)]);
  };
  assertEquals(await colours(CMYK_JPEG), [[0, 255, 255], [255, 0, 0], [0, 0, 0], [139, 87, 36]]);
  assertEquals(await colours(ycck), [[77, 255, 30], [179, 0, 227], [0, 0, 0], [92, 0, 18]]);
});

imageTest("what is transparent in a GIF keeps its colour in the palette", async () => {
  const gif = Uint8Array.fromBase64( // by Pillow, the second colour transparent
    "R0lGODlhBAABAIEAAAoUHshkMgD/AAkJCSH5BAEAAAEALAAAAAAEAAEAAAgHAAEEEDAgIAA7",
  );
  const { pixels } = await decodeImage(gif);
  assertEquals([...pixels], [10, 20, 30, 200, 100, 50, 0, 255, 0, 9, 9, 9]);
  const onWhite = await decodeImage(gif, { background: "white" });
  assertEquals([...onWhite.pixels], [10, 20, 30, 255, 255, 255, 0, 255, 0, 9, 9, 9]);
});

imageTest("transparency is dropped, or put on a colour", async () => {
  const sharp = await encoder();
  const rgba = Uint8Array.of(10, 20, 30, 51, 40, 50, 60, 255);
  const raw = { width: 2, height: 1, channels: 4 };
  for (const format of ["png", "webp"] as const) {
    const bytes = await sharp(rgba, { raw }).toFormat(format, { lossless: true }).toBuffer();
    assertEquals([...(await decodeImage(bytes)).pixels], [10, 20, 30, 40, 50, 60], format);
    const onWhite = await decodeImage(bytes, { background: "white" }); // a fifth of it is left
    assertEquals([...onWhite.pixels], [206, 208, 210, 40, 50, 60], format);
  }
});

imageTest("pictures are turned upright, whichever of the eight ways a camera noted", async () => {
  const sharp = await encoder();
  // Where each field of the file is once the picture is upright (TIFF 6.0, Orientation).
  const upright = [
    [0, 1, 2, 3],
    [1, 0, 3, 2],
    [3, 2, 1, 0],
    [2, 3, 0, 1],
    [0, 2, 1, 3],
    [2, 0, 3, 1],
    [3, 1, 2, 0],
    [1, 3, 0, 2],
  ];
  for (const format of ["jpeg", "png", "webp"] as const) {
    for (const [i, order] of upright.entries()) {
      const image = sharp(FIELDS, { raw: RAW }).withMetadata({ orientation: i + 1 });
      const picture = await decodeImage(await image.toFormat(format).toBuffer());
      assertEquals([picture.width, picture.height], i < 4 ? [32, 16] : [16, 32]);
      assertFields(picture, order, 12);
    }
  }
});

imageTest("what is no image, cut short or changed is damaged", async () => {
  const pixels = Uint8Array.from({ length: 48 }, (_, i) => i * 9);
  const png = await encodePng(pixels, 4, 4, 3);
  const refuse = (bytes: Uint8Array) => assertRejects(() => decodeImage(bytes), DamagedImageError);
  await refuse(new Uint8Array(0));
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="4" height="4"/>`;
  await refuse(new TextEncoder().encode(svg)); // which the decoder could draw
  await refuse(new TextEncoder().encode("a letter about a picture"));
  for (const length of [8, 30, 60, png.length - 20]) await refuse(png.subarray(0, length));
  const changed = png.slice();
  changed[50]! ^= 0x55;
  await refuse(changed);
  const sharp = await encoder();
  for (const format of ["jpeg", "webp", "gif"] as const) {
    const whole = await sharp(FIELDS, { raw: RAW }).toFormat(format).toBuffer();
    await decodeImage(whole);
    for (const part of [0.1, 0.5, 0.9]) await refuse(whole.subarray(0, part * whole.length));
  }
});

imageTest("a header that claims too many pixels is damaged, and no memory is taken", async () => {
  for (const [width, height] of [[13378, 13378], [60_000, 60_000], [2 ** 31 - 1, 2]] as const) {
    const bomb = await encodePng(Uint8Array.of(1, 2, 3), 1, 1, 3);
    const view = new DataView(bomb.buffer);
    [width, height].forEach((side, i) => view.setUint32(16 + 4 * i, side));
    view.setUint32(29, crc32(bomb.subarray(12, 29)));
    const before = Deno.memoryUsage().rss;
    const error = await assertRejects(() => decodeImage(bomb), DamagedImageError);
    // what libvips says after it is one text a process, which another thread may have cleared
    assert(/pixel limit|corrupt header/.test(error.message), error.message);
    assert(Deno.memoryUsage().rss - before < 2 ** 27);
  }
});

imageTest("a pointer of Git LFS in place of a picture is named", async () => {
  const pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 123\n";
  await assertRejects(
    () => decodeImage(new TextEncoder().encode(pointer)),
    DamagedImageError,
    "but found a pointer of Git LFS to a file of 123 bytes",
  );
});
