import { assertEquals } from "@std/assert";
import { kernel } from "../emit/abi.ts";
import { Module } from "../emit/assembler.ts";
import { packPanels, type PackSource } from "./pack.ts";
import { WasmRuntime } from "../device/runtime.ts";
import { Slots } from "../emit/slots.ts";

const SLOTS = new Slots(["src", "dst", "k", "lineBytes", "kBytes", "lines"]);

/** Packs a matrix of `lines` x `k` with these strides (in elements); its panels' valid lines. */
function pack(
  runtime: WasmRuntime,
  width: number,
  source: PackSource,
  { lines, k, lineStride, kStride }: Record<"lines" | "k" | "lineStride" | "kStride", number>,
): { got: number[]; want: number[] } {
  const bytes = source === "f32" ? 4 : 2;
  const elements = (lines - 1) * lineStride + (k - 1) * kStride + 1;
  const panels = Math.ceil(lines / width);
  const from = runtime.alloc(elements * bytes, "test");
  const to = runtime.alloc(panels * width * k * 4, "test");
  const inBytes = runtime.bytesAt(from.address, elements * bytes);
  const input = source === "f32"
    ? new Float32Array(inBytes.buffer, inBytes.byteOffset, elements)
    : new Float16Array(inBytes.buffer, inBytes.byteOffset, elements);
  for (let i = 0; i < elements; i++) input[i] = i % 2039 - 1000;

  const run = runtime.load(`pack ${width} ${source}`, () => {
    const module = new Module();
    const panel = packPanels(module, runtime.tier, width, source);
    const f = kernel("pack");
    const slots = SLOTS.of(f);
    for (const field of ["src", "dst", "k", "lineBytes", "kBytes", "lines"] as const) {
      f.get(slots.i64(field));
    }
    f.call(panel);
    module.add(f);
    return module;
  });
  const slots = SLOTS.fill({
    src: from.address,
    dst: to.address,
    k,
    lineBytes: lineStride * bytes,
    kBytes: kStride * bytes,
    lines,
  });
  runtime.launch(run("pack"), slots);
  const outBytes = runtime.bytesAt(to.address, panels * width * k * 4);
  const output = new Float32Array(outBytes.buffer, outBytes.byteOffset, panels * width * k);
  const got: number[] = [], want: number[] = [];
  for (let line = 0; line < lines; line++) {
    for (let p = 0; p < k; p++) {
      const panel = Math.floor(line / width);
      got.push(output[panel * width * k + p * width + line % width]!);
      want.push(input[line * lineStride + p * kStride]!);
    }
  }
  runtime.free(from);
  runtime.free(to);
  return { got, want };
}

for (const source of ["f32", "f16"] as const) {
  Deno.test(`packPanels() finds every element of ${source} matrices in any layout`, async () => {
    const runtime = new WasmRuntime();
    for (const width of [6, 8, 16]) {
      for (const lines of [1, 2, 5, 6, 7, 16, 23, 70]) {
        for (const k of [1, 3, 4, 9]) {
          for (
            const [lineStride, kStride] of [
              [1, lines],
              [1, lines + 3],
              [k, 1],
              [k + 5, 1],
              [2, 2 * lines],
              [0, 1],
              [1, 0],
              [0, 0],
            ] as const
          ) {
            const { got, want } = pack(runtime, width, source, { lines, k, lineStride, kStride });
            assertEquals(got, want, `${lines} x ${k} by ${lineStride}, ${kStride} into ${width}`);
          }
        }
      }
    }
    await runtime.dispose();
  });
}
