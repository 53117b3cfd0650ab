import { assertEquals } from "@std/assert";
import { stopSignals } from "./stop.ts";

Deno.test("a terminal that is closed asks to stop, but not where nohup may ignore it", () => {
  assertEquals(stopSignals("linux", true), ["SIGINT", "SIGTERM", "SIGUSR2", "SIGHUP"]);
  assertEquals(stopSignals("darwin", false), ["SIGINT", "SIGTERM", "SIGUSR2"]);
  assertEquals(stopSignals("windows", true), ["SIGINT"]);
});
