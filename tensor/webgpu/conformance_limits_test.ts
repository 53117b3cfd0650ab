import { type KernelName, KERNELS } from "../kernels.ts";
import { chosen, registerConformance, usable } from "./conformance_test_util.ts";

// Such a device has no f16, so arrays of it are read in another way. Other kernels are the same to
// the letter, so a small case of those without f16 shows that the limits are enough.
const half = usable.filter((test) => test.half);
const smallest = (Object.keys(KERNELS) as KernelName[]).flatMap((kernel) => {
  if (half.some((test) => test.kernel === kernel)) return [];
  const own = usable.filter((test) => test.kernel === kernel);
  return [own.reduce((least, test) => (test.cost < least.cost ? test : least))];
});
registerConformance(
  "kernels agree with the reference on a GPU of the default limits, without f16",
  [...chosen(half, "accesses"), ...smallest],
  usable,
  { limits: "default" },
);
