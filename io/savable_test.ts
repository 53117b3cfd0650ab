import { assertEquals } from "@std/assert";
import { diskTest } from "../tests/fixtures.ts";
import { type HostTensor, hostTensor } from "../tensor/mod.ts";
import { loadNpy, saveNpy } from "./numpy/npy.ts";
import { loadNpz, saveNpz } from "./numpy/npz.ts";
import { loadSafetensors } from "./safetensors/reader.ts";
import { saveSafetensors } from "./safetensors/writer.ts";
import type { SavableTensor } from "./savable.ts";
import { loadTorch } from "./torch/file.ts";
import { saveTorch } from "./torch/writer.ts";

diskTest("files are written from tensors on devices, each fetched in turn", async (folder) => {
  let fetched = 0;
  const onDevice = (
    dtype: "f32" | "f16",
    data: Float32Array<ArrayBuffer> | Float64Array<ArrayBuffer>,
  ) => ({
    dtype,
    shape: [1, 2],
    data: () => {
      fetched++;
      return Promise.resolve(data);
    },
  });
  const tensors = new Map<string, SavableTensor>([
    ["device", onDevice("f32", Float32Array.of(1, 2))],
    ["float64 device", onDevice("f32", Float64Array.of(3, 4))],
    ["float64 device, halves", onDevice("f16", Float64Array.of(5, 6))],
    ["lazy", {
      dtype: "u8",
      shape: [1],
      read: () => Promise.resolve(hostTensor(Uint8Array.of(5))),
    }],
  ]);
  const want = [
    ["device", hostTensor(Float32Array.of(1, 2), [1, 2])],
    ["float64 device", hostTensor(Float32Array.of(3, 4), [1, 2])],
    ["float64 device, halves", hostTensor(Float16Array.of(5, 6), [1, 2])],
    ["lazy", hostTensor(Uint8Array.of(5))],
  ];
  const path = `${folder}/x`;
  await saveSafetensors(path, tensors);
  assertEquals([...await loadSafetensors(path)].toSorted(([a], [b]) => a < b ? -1 : 1), want);
  await saveNpz(path, tensors);
  assertEquals([...await loadNpz(path)], want);
  await saveTorch(path, tensors);
  assertEquals([...await loadTorch(path) as Map<string, HostTensor>], want);
  assertEquals(fetched, 9);
  await saveNpy(path, tensors.get("device")!);
  assertEquals(await loadNpy(path), want[0]![1]);
});
