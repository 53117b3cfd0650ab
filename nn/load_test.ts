import { assertEquals, assertRejects } from "@std/assert";
import { mapSource, type TensorSource } from "../io/mod.ts";
import {
  currentDevice,
  type HostDType,
  type HostTensor,
  IndexError,
  memory,
  type Tensor,
} from "../tensor/mod.ts";
import { eachDevice } from "../tests/devices.ts";
import {
  Linear,
  loadWeights,
  ModuleWeights,
  Sequential,
  StateDictError,
  withoutInit,
} from "./mod.ts";

const bytes = (data: ArrayBufferView<ArrayBuffer>) => new Uint8Array(data.buffer);

/** Tensors in memory as a file would give them; remembers what was read. */
function source(tensors: Record<string, HostTensor>): TensorSource & { reads: string[] } {
  const reads: string[] = [];
  const inner = mapSource(new Map(Object.entries(tensors)));
  return {
    ...inner,
    reads,
    read: (name) => {
      reads.push(name);
      return inner.read(name);
    },
  };
}

const WEIGHT = [1, -2, 3.5, 0.25, 0, -65504];
const VALUES = {
  f64: bytes(Float64Array.from(WEIGHT)),
  f32: bytes(Float32Array.from(WEIGHT)),
  f16: bytes(Float16Array.from(WEIGHT)),
};

eachDevice("loadWeights() takes floats of every precision, in place", async () => {
  using layer = withoutInit(() => new Linear(2, 3, { bias: false }));
  for (const [dtype, data] of Object.entries(VALUES) as [HostDType, typeof VALUES.f32][]) {
    const progress: number[] = [];
    const onProgress = (done: number, total: number) => progress.push(done / total);
    const raw = { weight: { dtype, shape: [3, 2], data } };
    const found = await loadWeights(layer, source(raw), { onProgress });
    assertEquals(found, { missing: [], unexpected: [] });
    assertEquals(Array.from(await layer.weight.data()), WEIGHT, dtype);
    assertEquals(progress, [1]);
  }
  const bf16 = Uint16Array.from(Float32Array.of(1, -2, 3.5, 0.25, 0, -65536), (v) => {
    return new Uint32Array(Float32Array.of(v).buffer)[0]! >>> 16;
  });
  await loadWeights(layer, source({ weight: { dtype: "bf16", shape: [3, 2], data: bytes(bf16) } }));
  assertEquals(Array.from(await layer.weight.data()), [1, -2, 3.5, 0.25, 0, -65536]);
});

eachDevice("loadWeights() rounds to f16 where the module is f16", async () => {
  const before = memory().liveBytes;
  using layer = withoutInit(() => new Linear(2, 3, { bias: false }), { dtype: "f16" });
  assertEquals(memory().liveBytes - before, 12);
  const data = bytes(Float32Array.of(0.1, 1 + 2 ** -11, 1 + 3 * 2 ** -11, 1e-8, 70000, -1));
  await loadWeights(layer, source({ weight: { dtype: "f32", shape: [3, 2], data } }));
  const want = Float16Array.of(0.1, 1, 1 + 2 ** -9, 0, Infinity, -1);
  assertEquals(Array.from(await layer.weight.data()), Array.from(want));
  const weights = new ModuleWeights(layer);
  assertEquals(weights.info("weight"), { dtype: "f16", shape: [3, 2] });
  assertEquals((await weights.read("weight")).data, bytes(want));
});

eachDevice("loadWeights() lists all that does not fit and reads nothing", async () => {
  using layer = new Sequential(new Linear(2, 3), new Linear(3, 1));
  const before = await layer.stateDict().get("0.weight")!.data();
  const given = source({
    "0.weight": { dtype: "f32", shape: [2, 3], data: VALUES.f32 },
    "1.weight": { dtype: "f32", shape: [1, 3], data: bytes(new Float32Array(3)) },
    "1.bias": { dtype: "f32", shape: [1], data: bytes(new Float32Array(1)) },
    "2.bias": { dtype: "f32", shape: [1], data: bytes(new Float32Array(1)) },
  });
  const error = await assertRejects(() => loadWeights(layer, given), StateDictError);
  for (const part of ["(3)", "0.bias", "2.bias", "0.weight: expected [3, 2] but got [2, 3]"]) {
    assertEquals(error.message.includes(part), true, `${part} in ${error.message}`);
  }
  assertEquals(given.reads, []);
  assertEquals(await layer.stateDict().get("0.weight")!.data(), before);
}, ["wasm"]);

eachDevice("loadWeights() refuses integers, and takes a part where that is allowed", async () => {
  using layer = new Linear(1, 1);
  const given = source({
    weight: { dtype: "i64", shape: [1, 1], data: bytes(new BigInt64Array(1)) },
    extra: { dtype: "i64", shape: [], data: bytes(new BigInt64Array(1)) },
  });
  await assertRejects(
    () => loadWeights(layer, given, { strict: false }),
    StateDictError,
    "weight: expected floats but got i64",
  );
  const part = source({ bias: { dtype: "f32", shape: [1], data: bytes(Float32Array.of(3)) } });
  const found = await loadWeights(layer, part, { strict: false });
  assertEquals(found, { missing: ["weight"], unexpected: [] });
  assertEquals(Array.from(await layer.bias!.data()), [3]);
}, ["wasm"]);

eachDevice("ModuleWeights reads any range of bytes", async () => {
  using layer = new Linear(3, 5);
  const weights = new ModuleWeights(layer, "a layer");
  assertEquals([weights.keys(), weights.has("bias"), weights.has("b")], [
    ["weight", "bias"],
    true,
    false,
  ]);
  const whole = (await weights.read("weight")).data;
  assertEquals(whole.byteLength, 60);
  for (const [start, length] of [[0, 60], [4, 8], [3, 6], [59, 1], [60, 0]] as const) {
    const target = new Uint8Array(length);
    await weights.readInto("weight", target, start);
    assertEquals(target, whole.slice(start, start + length));
  }
  await assertRejects(() => weights.readInto("weight", new Uint8Array(2), 59), IndexError, "60");
  await assertRejects(
    () => weights.read("w"),
    StateDictError,
    "a layer: expected a tensor w but got none",
  );
  const ema = new ModuleWeights(new Map<string, Tensor>([["w", layer.weight]]));
  assertEquals((await ema.read("w")).data, whole);
  assertEquals(layer.weight.device, currentDevice());
}, ["wasm", "webgpu", "reference"]);
