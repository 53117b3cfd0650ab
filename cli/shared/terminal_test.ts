import { assertThrows } from "@std/assert";
import { unlessClosed } from "./terminal.ts";

Deno.test("what a closed terminal cannot show ends no command, other failures do", () => {
  const failing = (code: string) => () => {
    throw Object.assign(new Error(code), { code });
  };
  unlessClosed(failing("EIO"), true);
  assertThrows(() => unlessClosed(failing("EIO"), false), Error, "EIO");
  assertThrows(() => unlessClosed(failing("EPIPE"), true), Error, "EPIPE");
});
