import { ATTENTION, chosen, registerConformance, usable } from "./conformance_test_util.ts";

const cases = usable.filter(({ kernel }) => ATTENTION.has(kernel));
registerConformance(
  "attention and its gradient agree with the reference, whole and cut",
  chosen(cases),
  cases,
);
