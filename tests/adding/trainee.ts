import { type Addition, copyOf, type Edit } from "./addition.ts";

/** A line that is fitted to points, with all that a run has. */
export const trainee: Addition = {
  heading: "A trainee",
  files: {
    "cli/commands/fit/trainee.ts": [...copyOf("tests/line/trainee.ts"), fromCommands()],
    "cli/commands/fit/command.ts": [...copyOf("tests/line/command.ts"), fromCommands()],
  },
  proof: `
    const { fit, resumeFit } = await load("cli/commands/fit/command.ts");
    const { findCheckpoint } = await load("cli/mod.ts");
    const device = await core.init({ device: "wasm" });
    const { log } = console;
    console.log = () => {};
    await fit(folder + "/fits", { device, steps: 4 });
    const checkpoint = await findCheckpoint(folder + "/fits/000-Line");
    await resumeFit(folder + "/fits", checkpoint, { device, steps: 8 });
    console.log = log;
    const page = await Deno.readTextFile(folder + "/fits/000-Line/report.html");
    assert(page.includes("finished: 8 steps"), "a line is trained, resumed and has a page");
  `,
};

/** Imports as they are from a folder of a command. */
function fromCommands(): Edit {
  return (text) => text!.replaceAll(`"../../cli/`, `"../../`);
}
