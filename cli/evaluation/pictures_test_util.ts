/** Pictures that a small classifier learns within a few steps. */
import { numbers } from "../../tests/numbers.ts";
import type { ImageSize } from "../shared/sample_archive.ts";
import type { Pictures } from "./pictures.ts";

/** Dim noise with a bright bar, whose column is the class; classes follow each other. */
export function bars(count: number, size: ImageSize, classes: number, seed = 1): Pictures {
  const [height, width, channels] = size;
  const next = numbers(seed);
  const labels = Int32Array.from({ length: count }, (_, i) => i % classes);
  const pixels = Uint8Array.from({ length: count * height * width * channels }, (_, at) => {
    const column = Math.floor(at / channels) % width;
    const label = labels[Math.floor(at / (height * width * channels))]!;
    return (Math.floor(column * classes / width) === label ? 150 : 0) + Math.floor(next() * 100);
  });
  return { count, size, pixels, labels };
}
