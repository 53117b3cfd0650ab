import { assert, assertEquals, assertThrows } from "@std/assert";
import { MODEL } from "./model_info_test_util.ts";
import type { SampleRequest } from "./protocol.ts";
import { readSampleRequest, RequestError } from "./read_request.ts";

const PICTURE = { label: 3, seed: 7 };

const REQUEST: SampleRequest = {
  model: "demo",
  pictures: [
    PICTURE,
    { label: 0, seed: 2 ** 32 - 1, towardsSeed: { seed: 0, amount: 0.5 } },
    { label: 9, seed: 0, towardsLabel: { label: 1, amount: 1 } },
  ],
  sampler: "ddim",
  steps: 50,
  eta: 0.5,
  guidance: 4,
  interval: [100, 800],
};

Deno.test("a request is read as it is, into an object of its own", () => {
  const json = JSON.parse(JSON.stringify(REQUEST));
  const read = readSampleRequest(json, [MODEL]);
  assertEquals(read, REQUEST);
  json.pictures[0].label = 5;
  assertEquals(read.pictures[0], PICTURE);
});

Deno.test("a request is refused with the field that is wrong", () => {
  const refused = (change: object, message: string, model = MODEL) => {
    const json = JSON.parse(JSON.stringify({ ...REQUEST, ...change }));
    const error = assertThrows(() => readSampleRequest(json, [model]), RequestError);
    assert(error.message.includes(message), `${error.message}, not ${message}`);
    assert(error.message.length < 200, error.message);
  };
  const picture = (change: object, message: string) =>
    refused({ pictures: [{ ...PICTURE, ...change }] }, message);
  refused({ model: "../demo" }, "model: expected one that there is but got ../demo");
  refused({ model: "__proto__" }, "model: expected");
  refused({ model: "x".repeat(10000) }, "xxx...");
  refused({ sampler: "constructor" }, "sampler: expected one of dpm++, ddim but got constructor");
  refused({ pictures: [] }, "pictures: expected a list of 1 to 64 but got 0 of them");
  refused({ pictures: new Array(65).fill(PICTURE) }, "but got 65 of them");
  refused({ pictures: { length: 1 } }, "pictures: expected a list");
  refused({ pictures: [null] }, "pictures.0: expected an object but got null");
  picture({ label: 10 }, "pictures.0.label: expected a whole number from 0 to 9 but got 10");
  picture({ label: -1 }, "label");
  picture({ label: "3" }, "label");
  picture({ seed: 2 ** 32 }, "pictures.0.seed: expected a whole number from 0 to 4294967295");
  picture({ seed: 0.5 }, "seed");
  picture(
    { more: 1 },
    "pictures.0: expected label, seed, towardsSeed, towardsLabel only but got more",
  );
  picture(
    { towardsSeed: { seed: 1, amount: 1.1 } },
    "towardsSeed.amount: expected a number from 0 to 1",
  );
  picture(
    { towardsSeed: { seed: 1 } },
    "pictures.0.towardsSeed: expected an object with amount in it",
  );
  picture({ towardsSeed: null }, "towardsSeed");
  picture({ towardsLabel: { label: 10, amount: 0 } }, "towardsLabel.label");
  refused({ steps: 0 }, "steps: expected a whole number from 1 to 1000 but got 0");
  refused({ steps: 1001 }, "steps");
  refused({ steps: null }, "steps"); // what JSON makes of NaN and infinity
  refused({ eta: 2 }, "eta: expected a number from 0 to 1");
  refused({ sampler: "dpm++" }, "eta: expected 0 but got 0.5");
  refused({ guidance: -1 }, "guidance: expected a number from 0 to 100");
  refused({ guidance: 4 }, "guidance: expected 1 but got 4", { ...MODEL, canGuide: false });
  refused({ interval: [800, 100] }, "interval.1: expected a whole number from 800 to 999");
  refused({ interval: [0.5, 100] }, "interval.0");
  refused({ interval: [1] }, "interval: expected null, or the first and the last time");
  refused({ more: 1 }, "expected model, pictures, sampler, steps, eta, guidance, interval only");
  for (const json of [null, 3, "text", [], [REQUEST], { ...REQUEST, steps: undefined }, {}]) {
    assertThrows(() => readSampleRequest(json, [MODEL]), RequestError);
  }
  const inherited = Object.create(REQUEST);
  assertThrows(() => readSampleRequest(inherited, [MODEL]), RequestError, "model in it");
  const proto = JSON.parse('{"__proto__": {"model": "demo"}}');
  assertThrows(() => readSampleRequest(proto, [MODEL]), RequestError);
});

Deno.test("times of a flow may be any number within its own", () => {
  const flow = { ...MODEL, times: { least: 0, most: 1, grain: 0.01 } };
  const read = (interval: unknown) => readSampleRequest({ ...REQUEST, interval }, [flow]).interval;
  assertEquals(read([0.123, 1]), [0.123, 1]);
  assertThrows(() => read([0, 1.5]), RequestError, "interval.1: expected a number from 0 to 1");
});
