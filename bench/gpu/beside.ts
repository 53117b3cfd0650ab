/** The same engine on the CPU of the same machine. */
import { init, matmul, noGrad, randn, scope, shutdown } from "@dit/core";
import { duration, measure, type Report } from "../measure.ts";
import { batchFor, titleOf, traineeOf } from "./jobs.ts";
import { jobs } from "./steps.ts";

/** Times a product, and steps of the quickest run. */
export async function onTheCpu(report: Report, tiny: boolean): Promise<void> {
  const device = await init({ device: "wasm" });
  try {
    report.note("wasm", device.backend.description);
    const job = jobs(tiny)[0]!;
    using trainee = traineeOf(job);
    const batch = batchFor(trainee, job.batch);
    await trainee.takeStep(batch);
    const seconds = tiny ? 0 : 3;
    const step = await measure(() => trainee.takeStep(batch), { seconds, batchSeconds: 0 });
    using _ = scope("bench");
    const size = tiny ? 64 : 1024;
    const [a, b] = [randn([size, size]), randn([size, size])];
    const product = await measure(() => {
      using _ = scope("product");
      noGrad(() => void matmul(a, b));
    }, { seconds: tiny ? 0 : 1, batchSeconds: 0 });
    report.add("the same on the CPU", [{
      run: titleOf(job),
      "a step": duration(step.median),
      "images/s": job.batch / step.median,
      [`GFLOPS of a product of ${size}`]: 2 * size ** 3 / product.best / 1e9,
    }]);
  } finally {
    await shutdown(device);
  }
}
