/**
 * The GPUs that Vulkan offers to this process, and where they are on the PCI bus, which WebGPU does
 * not say. Layouts of structures: Vulkan specification, VkPhysicalDeviceProperties2.
 */

const SUCCESS = 0;
/** VK_STRUCTURE_TYPE_APPLICATION_INFO and so on. */
const TYPE = {
  applicationInfo: 0,
  instanceCreateInfo: 1,
  properties2: 1000059001,
  pciBusInfo: 1000212000,
} as const;
/** VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU, a card, and _CPU, a program that acts as a GPU. */
const [CARD, CPU] = [2, 4];
/** Version 1.1, which has vkGetPhysicalDeviceProperties2. */
const VERSION_1_1 = 1 << 22 | 1 << 12;
/** Larger than VkPhysicalDeviceProperties2, of 840 bytes. */
const PROPERTIES_BYTES = 2048;
/** Where deviceType is in it: 16 bytes of header, and four numbers. */
const DEVICE_TYPE = 16 + 16;
/** Where VkPhysicalDevicePCIBusInfoPropertiesEXT has its numbers. */
const PCI = { domain: 16, bus: 20, device: 24, function: 28, bytes: 32 } as const;
/** GPUs at most. */
const MOST = 64;

const SYMBOLS = {
  vkCreateInstance: { parameters: ["buffer", "pointer", "buffer"], result: "i32" },
  vkDestroyInstance: { parameters: ["usize", "pointer"], result: "void" },
  vkEnumeratePhysicalDevices: { parameters: ["usize", "buffer", "buffer"], result: "i32" },
  vkGetPhysicalDeviceProperties2: { parameters: ["usize", "buffer"], result: "void" },
} as const satisfies Deno.ForeignLibraryInterface;

type Vulkan = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

/**
 * Places on the bus of the GPUs that are hardware, in order: `pci-0000_3b_00_0`. Beside cards, those
 * within processors are left out.
 *
 * @returns null where there is no Vulkan of Linux, or one that does not say where a GPU is.
 */
export function pciGpus(): string[] | null {
  if (Deno.build.os !== "linux") return null;
  let library: Deno.DynamicLibrary<typeof SYMBOLS>;
  try {
    library = Deno.dlopen("libvulkan.so.1", SYMBOLS);
  } catch {
    return null;
  }
  try {
    return withInstance(library.symbols, (instance) => placesOf(library.symbols, instance));
  } finally {
    library.close();
  }
}

function withInstance<T>(vulkan: Vulkan, use: (instance: bigint) => T): T | null {
  // VkInstanceCreateInfo of 8 words, and the VkApplicationInfo that it points to
  const info = new BigUint64Array(14);
  const halves = new Uint32Array(info.buffer);
  halves[0] = TYPE.instanceCreateInfo;
  info[3] = addressOf(info) + 64n;
  halves[16] = TYPE.applicationInfo;
  halves[27] = VERSION_1_1;
  const instance = new BigUint64Array(1);
  if (vulkan.vkCreateInstance(info, null, instance) !== SUCCESS) return null;
  try {
    return use(instance[0]!);
  } finally {
    vulkan.vkDestroyInstance(instance[0]!, null);
  }
}

function placesOf(vulkan: Vulkan, instance: bigint): string[] | null {
  const count = Uint32Array.of(MOST);
  const devices = new BigUint64Array(MOST);
  if (vulkan.vkEnumeratePhysicalDevices(instance, count, devices) < SUCCESS) return null;
  const cards: string[] = [];
  const others: string[] = [];
  for (const device of devices.subarray(0, count[0])) {
    const place = new Uint32Array(PCI.bytes / 4).fill(0xffff_ffff);
    new BigUint64Array(place.buffer)[0] = BigInt(TYPE.pciBusInfo);
    new BigUint64Array(place.buffer)[1] = 0n;
    const properties = new BigUint64Array(PROPERTIES_BYTES / 8);
    properties[0] = BigInt(TYPE.properties2);
    properties[1] = addressOf(place);
    vulkan.vkGetPhysicalDeviceProperties2(device, properties);
    const type = new Uint32Array(properties.buffer)[DEVICE_TYPE / 4];
    if (type === CPU) continue;
    const part = (at: number, digits: number) => place[at / 4]!.toString(16).padStart(digits, "0");
    if (place[PCI.bus / 4] === 0xffff_ffff) return null;
    const [domain, bus, slot] = [part(PCI.domain, 4), part(PCI.bus, 2), part(PCI.device, 2)];
    (type === CARD ? cards : others).push(`pci-${domain}_${bus}_${slot}_${part(PCI.function, 1)}`);
  }
  const places = cards.length > 0 ? cards : others;
  return [...new Set(places)].sort(); // two drivers may offer one card
}

function addressOf(values: BigUint64Array<ArrayBuffer> | Uint32Array<ArrayBuffer>): bigint {
  return BigInt(Deno.UnsafePointer.value(Deno.UnsafePointer.of(values)));
}
