import { assert, assertEquals } from "@std/assert";
import { copyInto, scope, tensor } from "../tensor/mod.ts";
import { eachDevice } from "../tests/devices.ts";
import { backward } from "./backward.ts";
import { halfWeight } from "./half_weights.ts";
import { autocast } from "./modes.ts";
import { addcmul, linear, sum } from "./ops/mod.ts";
import { Parameter } from "./parameter.ts";

eachDevice(
  "a weight is copied once in the outermost scope, and again where it changed",
  async () => {
    using w = new Parameter(tensor([1, 2, 3, 4], [2, 2]));
    let first;
    {
      using _ = scope();
      {
        using _ = scope();
        first = halfWeight(w).storage;
      }
      assert(halfWeight(w).storage === first); // the inner scope did not free it
      copyInto(tensor([5, 6, 7, 8], [2, 2]), w);
      w.storage.version++;
      const changed = halfWeight(w);
      assert(changed.storage !== first);
      assertEquals(Array.from(await changed.data()), [5, 6, 7, 8]);
    }
    using alone = halfWeight(w); // without a scope, whose copy is the caller's
    assertEquals([alone.dtype, alone.shape], ["f16", [2, 2]]);
  },
);

eachDevice(
  "gradients have the types of weights and of what autocast made, mixed or not",
  async () => {
    using w = new Parameter(tensor([1, 2, 3, 4], [2, 2]));
    using b = new Parameter(tensor([1, 1]));
    using gate = new Parameter(tensor([2, 3]));
    {
      using _ = scope();
      const x = tensor([[1, 2]]);
      const loss = autocast("f16", () => {
        const h = linear(x, w, b);
        assertEquals(h.dtype, "f16");
        const y = addcmul(x, gate, h); // f32 and f16
        assertEquals(y.dtype, "f32");
        return sum(y);
      });
      backward(loss);
    }
    for (const [p, want] of [[w, [2, 4, 3, 6]], [b, [2, 3]], [gate, [6, 12]]] as const) {
      assertEquals(p.grad!.dtype, "f32");
      assertEquals(Array.from(await p.grad!.data()), [...want]);
    }
  },
);
