/** Threads of a workgroup that can read each other's registers, where a GPU grants that. */

/** What kernels need to know of them. */
export interface Subgroups {
  /** Neighbouring threads that are always in one: a power of two. */
  readonly size: number;
  /** What stands before a shader that uses them. */
  readonly directive: string;
}

/** What an adapter tells of them. */
type SubgroupInfo = GPUAdapterInfo & { readonly subgroupMinSize?: number };

/** Each thread adds up the numbers of the threads that are beside it. */
const PROBE = `
@group(0) @binding(0) var<storage, read_write> found: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) thread: u32) {
  found[thread] = subgroupShuffleXor(f32(thread), 1u);
}`;

/**
 * Finds out by compiling: not every implementation lists the feature, and some of those that have it
 * know no directive for it.
 *
 * @returns Null where shaders that use them do not compile.
 */
export async function findSubgroups(
  device: GPUDevice,
  info: GPUAdapterInfo,
): Promise<Subgroups | null> {
  const size = (info as SubgroupInfo).subgroupMinSize ?? 0;
  if (size < 2 || !Number.isInteger(Math.log2(size))) return null;
  for (const directive of ["enable subgroups;\n", ""]) {
    device.pushErrorScope("validation");
    let failed = false;
    try {
      const module = device.createShaderModule({ label: "subgroups", code: directive + PROBE });
      device.createComputePipeline({ layout: "auto", compute: { module, entryPoint: "main" } });
    } catch {
      failed = true;
    }
    const fault = await device.popErrorScope();
    if (!failed && fault === null) return { size, directive };
  }
  return null;
}
