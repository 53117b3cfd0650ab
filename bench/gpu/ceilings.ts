/** What the engine's plainest work reaches on a GPU: bandwidth, copies, products, and the cost of asking. */
import { type Device, matmul, noGrad, randn, scope } from "@dit/core";
import { evaluateInto, type Formula } from "@dit/core/tensor";
import type { WebGpuBackend } from "../../tensor/webgpu/backend.ts";
import type { Report, Row } from "../measure.ts";
import { type Bench, gpuMilliseconds, keepsTime, median, wallMilliseconds } from "./clock.ts";
import { copies } from "./copies.ts";
import type { Warmer } from "../../tensor/webgpu/tune/warmer.ts";

const ADD: Formula = { name: "bench:add", build: (a, b) => a!.add(b!) };
const COPY: Formula = { name: "bench:copy", build: (a) => a!.mul(1) };

/** Measures it; in miniature where `tiny`. */
export async function ceilings(
  report: Report,
  device: Device,
  { tiny, warmer }: Bench,
): Promise<void> {
  const backend = device.backend as WebGpuBackend;
  report.note("timed by", keepsTime(backend) ? "the GPU's timestamps" : "the host's clock");
  const largest = Math.min(2 ** 27, Math.floor(backend.runtime.maxBindingBytes / 4));
  report.add("bandwidth", await bandwidth(backend, tiny ? 2 ** 16 : largest, warmer));
  report.add("what asking costs", [await costs(backend, tiny ? 50 : 2000)]);
  report.add("copies between GPU and host", await copies(device, tiny));
  report.add("matrix products", await products(backend, tiny, warmer));
}

/** Of arrays of `size` elements. */
async function bandwidth(
  backend: WebGpuBackend,
  size: number,
  warmer: Warmer | null,
): Promise<Row[]> {
  using _ = scope("bench");
  const [x, y, out] = [randn([size]), randn([size]), randn([size])];
  const rate = async (arrays: number, run: () => void) =>
    arrays * size * 4 / await gpuMilliseconds(backend, run, 5, warmer) / 1e6;
  return [
    {
      formula: "out = x",
      "MB": size * 4 / 1e6,
      "GB/s": await rate(2, () => evaluateInto("bench", COPY, [x], [out])),
    },
    {
      formula: "out = x + y",
      "MB": size * 4 / 1e6,
      "GB/s": await rate(3, () => evaluateInto("bench", ADD, [x, y], [out])),
    },
  ];
}

async function costs(backend: WebGpuBackend, times: number): Promise<Row> {
  using _ = scope("bench");
  const small = randn([64]);
  const launch = () => evaluateInto("bench", ADD, [small, small], [small]);
  const repeat = (count: number, run: () => void) => () => {
    for (let i = 0; i < count; i++) run();
  };
  await wallMilliseconds(backend, launch);
  const launches = await wallMilliseconds(backend, repeat(times, launch));
  const some = Math.ceil(times / 10);
  const submits = await wallMilliseconds(
    backend,
    repeat(some, () => {
      launch();
      backend.flush();
    }),
  );
  const waits: number[] = [];
  for (let i = 0; i < 5; i++) {
    const start = performance.now();
    await small.data();
    waits.push(performance.now() - start);
  }
  return {
    "host, us a launch": launches.host * 1000 / times,
    "all, us a launch that waits for the last": launches.all * 1000 / times,
    "host, us a submit": submits.host * 1000 / some,
    "all, us a submit": submits.all * 1000 / some,
    "ms a read-back": median(waits),
  };
}

/** M, N and K of products in training steps of DiT-XL/2 and DiT-S/2 at batch 32. */
const SHAPES = [
  [8192, 3456, 1152],
  [8192, 1152, 1152],
  [8192, 4608, 1152],
  [8192, 1152, 4608],
  [8192, 1152, 384],
  [8192, 384, 384],
  [8192, 1536, 384],
  [8192, 384, 1536],
] as const;

/** Each product and those of its gradients: x wT, g w and gT x. */
async function products(
  backend: WebGpuBackend,
  tiny: boolean,
  warmer: Warmer | null,
): Promise<Row[]> {
  const rows: Row[] = [];
  for (const [m, n, k] of tiny ? [[64, 48, 32]] as const : SHAPES) {
    for (const dtype of ["f32", "f16"] as const) {
      using _ = scope("bench");
      const [x, w, g] = [
        randn([m, k], { dtype }),
        randn([n, k], { dtype }),
        randn([m, n], { dtype }),
      ];
      const rate = async (run: () => void) => {
        const each = () => {
          using _ = scope("product");
          noGrad(run);
        };
        const milliseconds = await gpuMilliseconds(backend, each, tiny ? 1 : 5, warmer);
        return 2 * m * n * k / milliseconds / 1e9;
      };
      rows.push({
        "M x N x K": `${m} x ${n} x ${k}`,
        dtype,
        "TFLOPS": await rate(() => matmul(x, w, { transposeB: true })),
        "gradient of x": await rate(() => matmul(g, w)),
        "gradient of w": await rate(() => matmul(g, x, { transposeA: true })),
      });
    }
  }
  return rows;
}
