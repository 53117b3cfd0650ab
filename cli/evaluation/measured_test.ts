import { assertEquals, assertRejects } from "@std/assert";
import { type HostTensor, hostTensor, NpzFile, NpzWriter, saveNpz } from "@dit/core/io";
import { diskTest } from "../../tests/fixtures.ts";
import { CommandError } from "../shared/errors.ts";
import { gaussianIn, measuredOf } from "./measured.ts";

const numbers = (shape: number[], fill = 1): HostTensor =>
  hostTensor(new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(fill), shape);

async function opened(path: string, arrays: Record<string, HostTensor>): Promise<NpzFile> {
  await saveNpz(path, new Map(Object.entries(arrays)));
  return await NpzFile.open(path);
}

diskTest(
  "statistics of a reference are a vector, a matrix of its width, and numbers",
  async (folder) => {
    const path = `${folder}/x.npz`;
    {
      using npz = await opened(path, { mu: numbers([2], 3), sigma: numbers([2, 2]) });
      const found = await gaussianIn(npz, "");
      assertEquals([...found!.mean, ...found!.covariance], [3, 3, 1, 1, 1, 1]);
      assertEquals(await gaussianIn(npz, "_s"), null);
    }
    const cases: [Record<string, HostTensor>, string][] = [
      [{ mu: numbers([2]), sigma: numbers([2, 3]) }, "but found [2] and [2, 3]"],
      [{ mu: numbers([2, 1]), sigma: numbers([2, 2]) }, "but found [2, 1] and [2, 2]"],
      [{ mu: numbers([]), sigma: numbers([]) }, "but found [] and []"],
      [{ mu: numbers([0]), sigma: numbers([0, 0]) }, "but found [0] and [0, 0]"],
      [{ mu: numbers([2], NaN), sigma: numbers([2, 2]) }, "finite numbers in mu but found NaN"],
      [{ mu: numbers([2]), sigma: numbers([2, 2], -Infinity) }, "in sigma but found -Infinity"],
    ];
    for (const [arrays, message] of cases) {
      using npz = await opened(path, arrays);
      await assertRejects(() => gaussianIn(npz, ""), CommandError, message);
    }
  },
);

diskTest("features of a file are rows of numbers", async (folder) => {
  const path = `${folder}/x.npz`;
  const write = async (pool: HostTensor): Promise<NpzFile> => {
    {
      await using npz = await NpzWriter.create(path);
      const rows = npz.begin("pool", "f32", pool.shape.slice(1));
      await rows.write(pool.data);
      await rows.end();
      await npz.text("extractor", "inception");
      await npz.finish();
    }
    return await NpzFile.open(path);
  };
  {
    using npz = await write(numbers([3, 2]));
    const { pool, gaussian } = (await measuredOf(npz))!;
    assertEquals([pool.count, pool.width, gaussian], [3, 2, null]);
  }
  {
    using npz = await write(numbers([3]));
    await assertRejects(() => measuredOf(npz), CommandError, "[N, D] in pool but found [3]");
  }
  {
    using npz = await write(numbers([3, 2], NaN));
    await assertRejects(() => measuredOf(npz), CommandError, "in pool but found NaN");
  }
});
