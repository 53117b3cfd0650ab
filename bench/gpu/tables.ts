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

/** Training steps. */
export function stepsTable(engine: Results, torch: TorchResults): string {
  const rows = engine.tables["training steps"]!.map((row) => {
    const beside = torchRow(torch, "training steps", torchJob(String(row["run"])));
    return [
      String(row["run"]),
      number(row["ms a step"]),
      number(row["images/s"]),
      number(row["GPU, ms"]),
      number(row["host, ms"]),
      number(beside?.["ms a step"]),
    ];
  });
  return markdown(["run", "ms a step", "images/s", "of the GPU", "of the host", "PyTorch"], rows);
}

/** Guided sampling. */
export function samplingTable(engine: Results, torch: TorchResults): string {
  const rows = engine.tables["guided sampling"]!.map((row) => {
    const [name, patch] = String(row["model"]).split("/");
    const precision = row["weights"] === "f16" ? "fp16" : "f32";
    const job = [name, Number(patch), row["images"], precision];
    const beside = torchRow(torch, "guided sampling", job);
    return [
      `${row["model"]}, ${row["images"]} images, ${row["weights"]}`,
      number(row["ms a step"]),
      number(row["images/s at 250 steps"]),
      number(beside?.["ms a step"]),
    ];
  });
  return markdown(["run", "ms a step", "images/s at 250 steps", "PyTorch"], rows);
}

/** Products of layers and of their gradients, in TFLOPS. */
export function productsTable(engine: Results, torch: TorchResults): string {
  const rows = engine.tables["matrix products"]!.filter((row) => row["dtype"] === "f32").map(
    (row) => {
      const shape = String(row["M x N x K"]);
      const beside = torchRow(torch, "matrix products", [...shape.split(" x ").map(Number), "f32"]);
      return [
        shape,
        number(row["TFLOPS"]),
        number(row["gradient of x"]),
        number(row["gradient of w"]),
        number(beside?.["TFLOPS"]),
      ];
    },
  );
  return markdown(["M x N x K", "x wT", "gradient of x", "gradient of w", "PyTorch, x wT"], rows);
}

/** Products on matrix units: the fastest way of each kind. */
export function matrixUnitsTable(dawn: Results): string {
  const best = new Map<string, Row>();
  for (const row of dawn.tables["products on tensor cores"] ?? []) {
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

/** All tables by the title that stands above them. */
export function tablesOf(engine: Results, dawn: Results, torch: TorchResults): Map<string, string> {
  return new Map([
    ["Training steps", stepsTable(engine, torch)],
    ["Guided sampling", samplingTable(engine, torch)],
    ["Products in f32, TFLOPS", productsTable(engine, torch)],
    ["Products of f16 on tensor cores, through Dawn", matrixUnitsTable(dawn)],
  ]);
}

/** Files of results of a card. */
export async function readResults(card: string): Promise<[Results, Results, TorchResults]> {
  const read = async (part: string) =>
    JSON.parse(
      await Deno.readTextFile(new URL(`../results/gpu/gpu-${card}-${part}.json`, import.meta.url)),
    );
  return [await read("deno"), await read("dawn-unchecked"), await read("torch")];
}

if (import.meta.main) {
  for (const [title, table] of tablesOf(...await readResults("nvidia-h200"))) {
    console.log(`${title}\n\n${table}\n`);
  }
}
