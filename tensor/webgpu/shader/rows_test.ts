import { assertEquals } from "@std/assert";
import { rowLayout } from "./rows.ts";

Deno.test("rowLayout() gives long rows a workgroup and short ones a few threads", () => {
  assertEquals(rowLayout(1, false), { lanes: 1, rows: 64, byVec4: false });
  assertEquals(rowLayout(64, true), { lanes: 4, rows: 16, byVec4: true });
  assertEquals(rowLayout(1151, false), { lanes: 256, rows: 1, byVec4: false });
  assertEquals(rowLayout(1152, true), { lanes: 128, rows: 1, byVec4: true });
});
