import { assertEquals } from "@std/assert";
import { rowLayout } from "./rows.ts";

const GPU = { plans: { rows: {} }, subgroups: null };

Deno.test("rowLayout() gives long rows a workgroup and short ones a few threads", () => {
  assertEquals(rowLayout(1, false, GPU), { lanes: 1, rows: 64, byVec4: false, subgroup: 0 });
  assertEquals(rowLayout(64, true, GPU), { lanes: 4, rows: 16, byVec4: true, subgroup: 0 });
  assertEquals(rowLayout(1151, false, GPU), { lanes: 256, rows: 1, byVec4: false, subgroup: 0 });
  assertEquals(rowLayout(1152, true, GPU), { lanes: 128, rows: 1, byVec4: true, subgroup: 0 });
});
