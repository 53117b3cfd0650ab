import { assert, assertEquals } from "@std/assert";
import { sizeClass } from "./pool.ts";

Deno.test("sizeClass() wastes a quarter at most and is its own class", () => {
  let last = 0;
  for (let bytes = 1; bytes < 1e9; bytes = Math.ceil(bytes * 1.13)) {
    const size = sizeClass(bytes);
    assert(size >= bytes && size >= last, `${bytes} bytes in ${size}`);
    assert(bytes <= 1024 || size <= bytes * 1.25, `${bytes} bytes in ${size}`);
    assertEquals(size % 256, 0);
    assertEquals(sizeClass(size), size);
    last = size;
  }
});
