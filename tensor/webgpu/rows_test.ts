import { assertEquals } from "@std/assert";
import { rowLayout } from "./rows.ts";

Deno.test("rowLayout() gives long rows a workgroup and short ones a few threads", () => {
  assertEquals(rowLayout(1), { lanes: 1, rows: 64 });
  assertEquals(rowLayout(64), { lanes: 16, rows: 4 });
  assertEquals(rowLayout(1152), { lanes: 256, rows: 1 });
});
