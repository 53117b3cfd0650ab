/** Measures the variants of kernels on the user's own GPU, and makes plans of the fastest. */
import type { WebGpuBackend } from "../backend.ts";
import { coresOf } from "../device/traits.ts";
import { measureCores } from "./cores.ts";
import { type AttentionPlan, usualAttention } from "../kernels/attention_plan.ts";
import { estimateProduct, type Plan, productClass } from "../kernels/product_plan.ts";
import type { ProductSize } from "../kernels/size_class.ts";
import { type KernelPlans, usualPlans } from "../plans.ts";
import { ATTENTION_KERNELS, AttentionArrays } from "./attention.ts";
import { lanesOf, RowArrays } from "./rows.ts";
import { choose, type TuneRow } from "./choose.ts";
import { GpuClock, type TuneClock } from "./clock.ts";
import {
  type Decided,
  kindsOf,
  layersOf,
  LinearArrays,
  LinearGradients,
  LinearProduct,
  planText,
} from "./products.ts";

/** A transformer whose kernels are measured, by the sizes of a block. */
export interface TuneModel {
  /** Such as `DiT-S/2`. */
  readonly name: string;
  /** Of weights and activations. */
  readonly dtype: "f32" | "f16";
  /** Examples of a step. */
  readonly batch: number;
  /** Of an example. */
  readonly tokens: number;
  /** Features of a token. */
  readonly width: number;
  /** Of a layer of attention. */
  readonly heads: number;
}

/** How much is measured, and who is told. */
export interface TuneOptions {
  /** What is to run fast, the most important first. */
  readonly models: readonly TuneModel[];
  /** Measurements that begin later than that are left out. */
  readonly seconds: number;
  /** Shapes of each kernel, and variants of each shape, where not all are to be measured. */
  readonly most?: { readonly shapes: number; readonly variants: number };
  /** Called with what was found of each class of shapes. */
  readonly onRows?: (rows: readonly TuneRow[]) => void;
}

/** What was found of a GPU. */
interface TuneResult {
  readonly plans: KernelPlans;
  readonly rows: TuneRow[];
  readonly skipped: number;
  readonly cores: number | null;
}

/**
 * Measures the variants of products, norms and attention for the shapes of the models; what runs under
 * other plans meanwhile is slowed down. Gives the plans, what they come from, how many classes of
 * shapes no time was left for, and the cores of a GPU whose name does not tell them.
 *
 * @param given A clock, for tests.
 */
export async function tuneKernels(
  backend: WebGpuBackend,
  options: TuneOptions,
  given?: TuneClock,
): Promise<TuneResult> {
  const { runtime } = backend;
  const before = runtime.plans;
  // By those that were measured before, matrix units would not be given what they usually are; and
  // their traits may be those of an older release.
  runtime.plans = runtime.usualPlans;
  try {
    return await measured(backend, options, given);
  } finally {
    runtime.plans = before;
  }
}

async function measured(
  backend: WebGpuBackend,
  { models, seconds, most, onRows }: TuneOptions,
  given: TuneClock | undefined,
): Promise<TuneResult> {
  using own = given ? null : new GpuClock(backend);
  const clock = given ?? own!;
  const end = clock.seconds() + seconds;
  const isKnown = backend.isSoftware || coresOf(backend.adapterName) !== undefined;
  const cores = isKnown || most ? null : await measureCores(backend, clock);
  const traits = { ...backend.runtime.traits, ...(cores === null ? {} : { cores }) };
  const products: Record<string, Plan> = {};
  const attention: Record<string, AttentionPlan> = {};
  const reduced: Record<string, "subgroups"> = {};
  const rows: TuneRow[] = [];
  const done = new Map<string, Set<string>>();
  let skipped = 0;
  /** Whether a class is one to be measured: none is twice. */
  const isNew = (kernel: string, shapeClass: string): boolean => {
    const known = done.get(kernel) ?? new Set();
    done.set(kernel, known);
    if (known.has(shapeClass) || known.size === most?.shapes) return false;
    known.add(shapeClass);
    return true;
  };
  /** Whether no time is left for a class. */
  const isLate = (): boolean => {
    if (clock.seconds() < end) return false;
    skipped++;
    return true;
  };
  const isNext = (kernel: string, shapeClass: string): boolean =>
    isNew(kernel, shapeClass) && !isLate();
  const found = (some: readonly TuneRow[]): void => {
    rows.push(...some);
    onRows?.(some);
  };
  for (const { dtype, batch, tokens, width, heads } of models) {
    using arrays = new Lazy(() =>
      new LinearArrays(backend, { tokens: batch * tokens, dtype, layers: layersOf(width) })
    );
    for (const layer of layersOf(width)) {
      const [outputs, inputs] = layer;
      let isMeasured = false;
      for (const kind of kindsOf(dtype, layer)) {
        const size = LinearProduct.sizeOf(kind, batch * tokens, dtype, layer);
        const name = productClass(size);
        if (!isNext("product", name)) continue;
        isMeasured = true;
        const product = new LinearProduct(arrays.get(), kind, outputs, inputs);
        const { m, n, k } = size;
        const variants = product.candidates(traits).slice(0, most?.variants).map((plan) => ({
          name: planText(plan),
          plan,
          launch: (op: string) => product.run(plan, op),
          isRight: async () => product.isRight(await product.error(plan)),
        }));
        const shape = `${kind}, ${m} x ${n} x ${k}, ${dtype}`;
        const { plan, rows } = await choose("product", { shape, variants }, clock);
        if (plan !== null) products[name] = plan;
        found(rows);
      }
      const size = LinearProduct.sizeOf("gT x", batch * tokens, dtype, layer);
      if (!isNew("gradients", productClass(size))) continue;
      const areLate = isLate();
      if (areLate && !isMeasured) continue;
      const estimate = (size: ProductSize): Plan => estimateProduct(size, traits);
      const grads = new LinearGradients(
        arrays.get(),
        layer,
        (size) => products[productClass(size)] ?? estimate(size),
      );
      const variants = grads.variants(new LinearGradients(arrays.get(), layer, estimate));
      if (variants.length === 0) continue;
      const take = (decided: Decided): void => {
        for (const [name, plan] of Object.entries(decided)) {
          if (plan) products[name] = plan;
          else delete products[name];
        }
      };
      // Plans that were measured for each alone are not taken where sharing a launch may be faster.
      if (areLate) {
        take(variants[0]!.plan);
        continue;
      }
      const shape = `${layer[1]} to ${layer[0]} of ${batch * tokens}, ${dtype}`;
      const { rows: some } = await choose("gradients of a layer", { shape, variants }, clock);
      take(variants[some.findIndex(({ isChosen }) => isChosen)]!.plan);
      found(some);
    }
    if (await backend.findSubgroups() !== null && isNext("rows", `${lanesOf(width, backend)}`)) {
      using normed = new RowArrays(backend, { dtype, batch, tokens, width });
      const shape = `${batch * tokens} x ${width}, ${dtype}`;
      const subject = { shape, variants: normed.variants() };
      const { plan, rows } = await choose("layer norm and its gradient", subject, clock);
      if (plan !== null) reduced[normed.lanes] = plan;
      found(rows);
    }
    const depth = width / heads;
    const shape = `${batch} x ${heads} x ${tokens} x ${depth}, ${dtype}`;
    using attended = new Lazy(() =>
      new AttentionArrays(backend, { dtype, batch, heads, tokens, depth })
    );
    const shapeClass = AttentionArrays.classOf(dtype, tokens, depth);
    const plans: AttentionPlan = { ...usualAttention(traits) };
    const take = (measured: Partial<AttentionPlan>): void => {
      Object.assign(plans, measured);
      attention[shapeClass] = plans;
    };
    for (const kernel of ATTENTION_KERNELS) {
      if (!isNext(`attention ${kernel}`, shapeClass)) continue;
      const variants = attended.get().variants(kernel).slice(0, most?.variants);
      const { plan, rows } = await choose(`attention ${kernel}`, { shape, variants }, clock);
      if (plan !== null) take({ [kernel]: plan });
      found(rows);
    }
    if (!isNext("attention's gradients", shapeClass)) continue;
    const variants = attended.get().sharing(plans).slice(0, most?.variants);
    if (variants.length < 2) continue;
    const { plan, rows } = await choose("attention's gradients", { shape, variants }, clock);
    if (plan) take({ apart: true });
    found(rows);
  }
  const plans = { ...usualPlans(traits), products, attention, rows: reduced };
  return { plans, rows, skipped, cores };
}

/** What is made when it is first asked for, and disposed of if it was. */
class Lazy<T extends Disposable> implements Disposable {
  #made: T | null = null;

  constructor(readonly make: () => T) {}

  get(): T {
    return this.#made ??= this.make();
  }

  [Symbol.dispose](): void {
    this.#made?.[Symbol.dispose]();
  }
}
