/** Running tests on Dawn, the WebGPU of npm's package `webgpu`, in processes of its own. */
import { DAWN } from "../cli/shared/dawn.ts";
import type { Found } from "./dawn/process.ts";
import { granted, unreadable } from "./fixtures.ts";
import { nativeBlocked, packagesMissing } from "./npm.ts";

/** Names of the jobs of `dawn/process.ts`. */
export type DawnJob = "find" | "conformance" | "matrices" | "matrixAttention";

/** A second driver of Vulkan that runs on the CPU, as Debian's chromium brings it. */
const SWIFTSHADER = "/usr/lib/chromium/vk_swiftshader_icd.json";

/** Variables that name the drivers of Vulkan, besides which none is then added. */
const DRIVER_VARIABLES = ["VK_ICD_FILENAMES", "VK_DRIVER_FILES", "VK_ADD_DRIVER_FILES"];

/** What Dawn's driver is found by: the environment's choice, or else the system's and SwiftShader. */
function driverVariables(): Record<string, string> {
  if (DRIVER_VARIABLES.some((name) => Deno.env.get(name))) return {};
  try {
    Deno.statSync(SWIFTSHADER);
  } catch {
    return {};
  }
  return { VK_ADD_DRIVER_FILES: SWIFTSHADER };
}

/**
 * Runs a job with no more rights than Dawn and the engine need.
 *
 * @throws {Error} where it fails, with what it wrote.
 */
export async function onDawn<Outcome>(job: DawnJob): Promise<Outcome> {
  const script = new URL("dawn/process.ts", import.meta.url).href;
  const { code, stdout, stderr } = await new Deno.Command("deno", {
    args: ["run", "-q", "--no-check", "--no-prompt", "--allow-read", "--allow-ffi", script, job],
    env: { NO_COLOR: "1", NODEVICE_SELECT: "1", GALLIVM_PERF: "nopt", ...driverVariables() },
  }).output();
  const text = new TextDecoder();
  if (code !== 0) throw new Error(`${job} on Dawn ended with ${code}: ${text.decode(stderr)}`);
  return JSON.parse(text.decode(stdout));
}

/** The adapter that Dawn finds here, or why there is none to test on. */
export const found: Found | { readonly missing: string } = await find();

async function find(): Promise<typeof found> {
  if (!granted({ name: "run", command: "deno" })) return { missing: "needs --allow-run=deno" };
  const missing = unreadable ?? nativeBlocked() ?? await packagesMissing(DAWN);
  if (missing !== undefined) return { missing };
  const outcome = await onDawn<Found>("find");
  return outcome.adapter === null
    ? { missing: "needs a driver of Vulkan that Dawn takes: Chromium's SwiftShader, or Mesa 25" }
    : outcome;
}
