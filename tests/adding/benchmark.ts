import { type Addition, file } from "./addition.ts";

/** A suite that `deno task bench` finds by its file. */
export const benchmark: Addition = {
  heading: "A benchmark",
  files: {
    "bench/squares.ts": file(`\
  import { count } from "../cli/shared/flags.ts";
  import type { SuiteOptions } from "./main.ts";
  import type { Report } from "./measure.ts";

export const tiered = false;

export const flags = { "side": count("of the square") };

export function run(report: Report, { given }: SuiteOptions): void {
  const side = Number(given?.["side"]);
  report.add("squares", [{ side, area: side ** 2 }]);
}
`),
  },
  proof: `
    const { parse } = await load("bench/main.ts");
    const { suites: [{ suite }], flags } = await parse(["squares", "--side", "3"]);
    const { Report } = await load("bench/measure.ts");
    const report = new Report();
    const { log } = console;
    console.log = () => {};
    suite.run(report, { tiny: false, only: undefined, seconds: Infinity, given: flags });
    console.log = log;
    assert(report.tables.squares[0].area === 9, "a table of the suite");
  `,
};
