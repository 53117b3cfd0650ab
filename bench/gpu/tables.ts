/**
 * The tables of bench/gpu/README.md, from files of results: what the kit measured beside PyTorch on
 * the same card. A test holds the document to them.
 *
 *     deno run --allow-read bench/gpu/tables.ts    prints them, to be copied
 */

type Cell = string | number | null;
type Row = Readonly<Record<string, Cell>>;

/** A file of the kit's, as far as it is shown. */
export interface Results {
  readonly tables: Readonly<Record<string, readonly Row[]>>;
}

/** A file of torch_steps.py's. */
export interface TorchResults {
  readonly tables: Readonly<
    Record<string, readonly ({ readonly job: readonly unknown[] } & Row)[]>
  >;
}

const number = (value: Cell | undefined, digits = 3): string =>
  typeof value === "number" ? String(Number(value.toPrecision(digits))) : "–";

function markdown(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = heads.map((head, i) =>
    Math.max(3, head.length, ...rows.map((row) => row[i]!.length))
  );
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, i) => cell.padEnd(widths[i]!)).join(" | ")} |`;
  return [line(heads), `| ${widths.map((w) => "-".repeat(w)).join(" | ")} |`, ...rows.map(line)]
    .join("\n");
}

/** What PyTorch took for a job of its own; undefined where it was not measured. */
function torchRow(
  torch: TorchResults,
  table: string,
  job: readonly unknown[],
): Row | undefined {
  return torch.tables[table]?.find((row) => job.every((part, i) => row.job[i] === part));
}

/** `DiT-S/2, batch 32, fp16, checkpointing` as a job of torch_steps.py's. */
function torchJob(run: string): readonly unknown[] {
  const [model, batch, precision, checkpointing] = run.split(", ");
  const [name, patch] = model!.split("/");
  return [
    name,
    Number(patch),
    Number(batch!.split(" ")[1]),
    precision,
    checkpointing !== undefined,
  ];
}

/** What the engine took for the same thing through Dawn. */
function dawnRow(dawn: Results, table: string, row: Row, keys: readonly string[]): Row | undefined {
  return dawn.tables[table]?.find((other) => keys.every((key) => other[key] === row[key]));
}

/** Training steps. */
export function stepsTable({ deno, dawn, torch }: CardResults): string {
  const rows = deno.tables["training steps"]!.map((row) => {
    const beside = torchRow(torch, "training steps", torchJob(String(row["run"])));
    const other = dawnRow(dawn, "training steps", row, ["run"]);
    return [
      String(row["run"]),
      number(row["ms a step"]),
      number(row["images/s"]),
      number(row["GPU, ms"]),
      number(row["host, ms"]),
      number(other?.["ms a step"]),
      number(beside?.["ms a step"]),
    ];
  });
  const heads = ["run", "ms a step", "images/s", "of the GPU", "of the host", "through Dawn"];
  return markdown([...heads, "PyTorch"], rows);
}

/** Guided sampling. */
export function samplingTable({ deno, dawn, torch }: CardResults): string {
  const rows = deno.tables["guided sampling"]!.map((row) => {
    const [name, patch] = String(row["model"]).split("/");
    const precision = row["weights"] === "f16" ? "fp16" : "f32";
    const job = [name, Number(patch), row["images"], precision];
    const beside = torchRow(torch, "guided sampling", job);
    const other = dawnRow(dawn, "guided sampling", row, ["model", "images", "weights"]);
    return [
      `${row["model"]}, ${row["images"]} images, ${row["weights"]}`,
      number(row["ms a step"]),
      number(row["images/s at 250 steps"]),
      number(other?.["ms a step"]),
      number(beside?.["ms a step"]),
    ];
  });
  return markdown(
    ["run", "ms a step", "images/s at 250 steps", "through Dawn", "PyTorch"],
    rows,
  );
}

/** Products of a step's layers as they are planned, in f32, in TFLOPS. */
export function productsTable({ deno, torch }: CardResults): string {
  const planned = deno.tables["products by plan"]!.filter(({ plan }) => plan === "planned");
  const rateOf = (product: string, sizes: readonly number[]): string => {
    const shape = sizes.join(" x ");
    return number(
      planned.find((row) => row["product"] === product && row["M x N x K"] === shape)?.["TFLOPS"],
    );
  };
  const rows = planned.filter(({ model, product }) => model === "DiT-S/2" && product === "x wT")
    .map((row) => {
      const shape = String(row["M x N x K"]);
      const [m, n, k] = shape.split(" x ").map(Number) as [number, number, number];
      const beside = torchRow(torch, "matrix products", [m, n, k, "f32"]);
      return [
        shape,
        number(row["TFLOPS"]),
        rateOf("g w", [m, k, n]),
        rateOf("gT x", [n, k, m]),
        number(beside?.["TFLOPS"]),
      ];
    });
  return markdown(["M x N x K", "x wT", "gradient of x", "gradient of w", "PyTorch, x wT"], rows);
}

/** What the plans of a step's products leave to be had, in milliseconds of a step. */
export function plansTable({ deno }: CardResults): string {
  const rows = deno.tables["products of a step by plan"]!.map((row) => [
    `${row["layers of"]}, ${row["dtype"]}`,
    number(row["planned, plain, ms"]),
    number(row["planned, ms"]),
    number(row["the best of each, ms"]),
  ]);
  const heads = [
    "products of",
    "planned, plain code",
    "planned",
    "the best of all that were tried",
  ];
  return markdown(heads, rows);
}

/** Gradients of layers in a launch that they share, and in two. */
export function sharedTable({ deno }: CardResults): string {
  const all = deno.tables["gradients of layers"]!;
  const rows = all.filter((row) => row["in"] === "one launch").map((one) => {
    const two = all.find((row) =>
      row["in"] === "two launches" && row["layer"] === one["layer"] && row["model"] === one["model"]
    );
    return [`${one["model"]}, ${one["layer"]}`, number(one["ms"]), number(two?.["ms"])];
  });
  return markdown(["gradients of a layer of", "one launch", "two launches"], rows);
}

/** Products on matrix units: the fastest way of each kind. */
export function matrixUnitsTable({ unchecked }: CardResults): string {
  const best = new Map<string, Row>();
  for (const row of unchecked.tables["products on tensor cores"] ?? []) {
    const kind = String(row["product"]);
    if (Number(row["TFLOPS"] ?? 0) > Number(best.get(kind)?.["TFLOPS"] ?? 0)) best.set(kind, row);
  }
  const rows = [...best].map(([kind, row]) => [
    kind,
    String(row["M x N x K"]),
    `${row["subgroups"]} x ${row["matrices of each"]}, ${row["depth"]} deep, ${row["staged"]}`,
    number(row["TFLOPS"]),
  ]);
  return markdown(["product", "M x N x K", "subgroups, matrices of each", "TFLOPS"], rows);
}

/** Training steps through both, as docs/dawn.md has them. */
export function dawnTable({ deno, dawn }: CardResults): string {
  const rows = deno.tables["training steps"]!.map((row) => [
    String(row["run"]),
    number(row["ms a step"]),
    number(dawnRow(dawn, "training steps", row, ["run"])?.["ms a step"]),
  ]);
  return markdown(["run", "Deno's WebGPU", "Dawn"], rows);
}

/** All tables by the title that stands above them. */
export function tablesOf(results: CardResults): Map<string, string> {
  return new Map([
    ["Training steps, milliseconds", stepsTable(results)],
    ["Guided sampling, milliseconds", samplingTable(results)],
    ["Products in f32 as they are planned, TFLOPS", productsTable(results)],
    ["All products of a step's layers, milliseconds", plansTable(results)],
    ["Gradients of layers, milliseconds", sharedTable(results)],
    ["Products of f16 on tensor cores, through Dawn", matrixUnitsTable(results)],
  ]);
}

/** What was measured of a card. */
export interface CardResults {
  /** The engine on Deno's WebGPU, and on Dawn. */
  readonly deno: Results;
  readonly dawn: Results;
  /** On Dawn with its checks off. */
  readonly unchecked: Results;
  readonly torch: TorchResults;
}

/** Files of results of a card. */
export async function readResults(card: string): Promise<CardResults> {
  const read = async (part: string) =>
    JSON.parse(
      await Deno.readTextFile(new URL(`../results/gpu/gpu-${card}-${part}.json`, import.meta.url)),
    );
  return {
    deno: await read("deno"),
    dawn: await read("dawn"),
    unchecked: await read("dawn-unchecked"),
    torch: await read("torch"),
  };
}

if (import.meta.main) {
  for (const [title, table] of tablesOf(await readResults("nvidia-h200"))) {
    console.log(`${title}\n\n${table}\n`);
  }
}
