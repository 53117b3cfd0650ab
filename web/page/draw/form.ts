/** The form: everything that decides what is drawn. */
import { freshId, h, icon, setAttribute } from "../base/dom.ts";
import { countText } from "../base/text.ts";
import { Choice } from "../controls/choice.ts";
import { ClassPicker } from "../controls/class_picker.ts";
import { IntervalField } from "../controls/interval_field.ts";
import { SeedField } from "../controls/seed_field.ts";
import { Slider } from "../controls/slider.ts";
import {
  AROUND,
  fitted,
  LIMITS,
  type Mode,
  type Parameters,
  samplerOf,
  usualParameters,
} from "../state/parameters.ts";
import { type ModelInfo, MOST_PICTURES } from "../../protocol.ts";

/** What the form does. */
export interface FormActions {
  /** The visitor chose other parameters. */
  readonly onChange: (parameters: Parameters) => void;
  readonly onModel: (id: string) => void;
  readonly onLock: (isLocked: boolean) => void;
  readonly onDraw: () => void;
}

/** The control panel of the drawing view. */
export class DrawForm {
  /** To be put into the page. */
  readonly element: HTMLFormElement;
  readonly #actions: FormActions;
  #model: ModelInfo | null = null;
  #parameters: Parameters | null = null;

  readonly #models = h("select", {
    id: "model",
    onchange: () => this.#actions.onModel(this.#models.value),
  });
  readonly #about = h("p", { class: "help" });
  readonly #mode: Choice<Mode>;
  readonly #classes = new ClassPicker("Classes", false, (labels) => this.#set({ labels }));
  readonly #otherClass = new ClassPicker(
    "To class",
    true,
    ([otherLabel]) => this.#set(otherLabel === undefined ? {} : { otherLabel }),
  );
  readonly #seed: SeedField;
  readonly #otherSeed = new SeedField("To seed", (otherSeed) => this.#set({ otherSeed }));
  readonly #count = this.#slider("count", "Pictures of each class", LIMITS.count);
  readonly #around = new Choice<number>(
    "Variations",
    AROUND.map((value) => ({ value, label: `${Math.sqrt(value + 1)} × ${Math.sqrt(value + 1)}` })),
    (around) => this.#set({ around }),
  );
  readonly #strength = this.#slider("strength", "Strength", LIMITS.strength, {
    grain: 0.01,
    help: "How far the outermost are on the way to other noise.",
  });
  readonly #frames = this.#slider("frames", "Pictures on the way", LIMITS.frames);
  readonly #sampler = h("select", {
    id: freshId("sampler"),
    onchange: () => this.#setSampler(this.#sampler.value),
  });
  readonly #samplerHelp = h("p", { class: "help" });
  readonly #steps = this.#slider("steps", "Steps", [1, 1000], { isLogarithmic: true });
  readonly #eta = this.#slider("eta", "Randomness (eta)", [0, 1], { grain: 0.05 });
  readonly #guidance = this.#slider("guidance", "Guidance", LIMITS.guidance, {
    grain: 0.1,
    help: "1 is none; more keeps closer to the class.",
  });
  readonly #interval = new IntervalField((interval) => this.#set({ interval }));
  readonly #guided: HTMLElement;
  readonly #hint = h("p", { class: "help" });
  readonly #draw = h("button", { type: "submit", class: "primary" }, "Draw");

  /** Disabled until {@link setModels} and {@link show}. */
  constructor(actions: FormActions) {
    this.#actions = actions;
    this.#mode = new Choice<Mode>(
      "What to draw",
      [
        { value: "pictures", label: "Pictures" },
        { value: "variations", label: "Variations" },
        { value: "seeds", label: "Seed to seed" },
        { value: "classes", label: "Class to class" },
      ],
      (mode) => this.#set({ mode }),
      true,
    );
    this.#mode.element.classList.add("modes");
    this.#seed = new SeedField("Seed", (seed) => this.#set({ seed }), actions.onLock);
    this.#guided = h("div", {}, this.#guidance.element, this.#interval.element);
    this.element = h(
      "form",
      {
        class: "panel",
        "aria-label": "What to draw",
        onsubmit: (event: SubmitEvent) => {
          event.preventDefault();
          actions.onDraw();
        },
      },
      h(
        "div",
        { class: "field" },
        h("label", { for: "model" }, "Model"),
        this.#models,
        this.#about,
      ),
      this.#mode.element,
      this.#classes.element,
      this.#otherClass.element,
      this.#seed.element,
      this.#otherSeed.element,
      this.#count.element,
      this.#around.element,
      this.#strength.element,
      this.#frames.element,
      h(
        "details",
        { class: "more", open: true },
        h("summary", {}, "How it is sampled"),
        h(
          "div",
          { class: "field" },
          h("label", { for: this.#sampler.id }, "Sampler"),
          this.#sampler,
          this.#samplerHelp,
        ),
        this.#steps.element,
        this.#eta.element,
        this.#guided,
        h(
          "button",
          { type: "button", class: "quiet", onclick: () => this.#reset() },
          icon("again"),
          "As the model is usually sampled",
        ),
      ),
      h("div", { class: "actions" }, this.#hint, this.#draw),
    );
  }

  /** Says something above the button; nothing where it is empty. */
  showHint(text: string): void {
    this.#hint.textContent = text;
  }

  /** Puts a choice before all others. */
  prepend(element: HTMLElement): void {
    this.element.prepend(element);
  }

  /** Sets what models there are. */
  setModels(models: readonly ModelInfo[]): void {
    this.#models.replaceChildren(
      ...models.map(({ id, title }) => h("option", { value: id }, title)),
    );
  }

  /** Shows a model and parameters for it. */
  show(model: ModelInfo, parameters: Parameters): void {
    if (this.#model !== model) this.#setModel(model);
    this.#parameters = parameters;
    const { mode, labels } = parameters;
    const sampler = samplerOf(model, parameters.sampler);
    this.#models.value = model.id;
    this.#mode.show(mode);
    const label = {
      pictures: "Classes",
      variations: "Class",
      seeds: "Class",
      classes: "From class",
    };
    this.#classes.show(labels, mode !== "pictures", label[mode]);
    this.#otherClass.show([parameters.otherLabel]);
    this.#seed.show(parameters.seed);
    this.#otherSeed.show(parameters.otherSeed);
    const most = Math.floor(MOST_PICTURES / labels.length);
    this.#count.setLimits(1, Math.max(1, Math.min(LIMITS.count[1], most)));
    this.#count.show(parameters.count);
    this.#around.show(parameters.around);
    this.#strength.show(parameters.strength);
    this.#frames.show(parameters.frames);
    this.#sampler.value = parameters.sampler;
    this.#samplerHelp.textContent = sampler.help;
    this.#steps.setLimits(sampler.least, sampler.most);
    this.#steps.show(parameters.steps);
    this.#eta.show(parameters.eta);
    this.#guidance.show(parameters.guidance);
    this.#interval.show(parameters.interval);
    const hidden: readonly [{ readonly element: HTMLElement }, boolean][] = [
      [this.#otherClass, mode !== "classes"],
      [this.#otherSeed, mode !== "seeds"],
      [this.#count, mode !== "pictures"],
      [this.#around, mode !== "variations"],
      [this.#strength, mode !== "variations"],
      [this.#frames, mode !== "seeds" && mode !== "classes"],
      [this.#eta, !sampler.hasEta],
    ];
    for (const [{ element }, isHidden] of hidden) element.hidden = isHidden;
    this.#guided.hidden = !model.canGuide;
  }

  /** Shows whether the seed is kept. */
  showLock(isLocked: boolean): void {
    this.#seed.showLock(isLocked);
  }

  /** Lets drawings be asked for, or not. */
  setReady(isReady: boolean): void {
    setAttribute(this.#draw, "disabled", !isReady);
  }

  #setModel(model: ModelInfo): void {
    this.#model = model;
    this.#classes.setNames(model.classNames);
    this.#otherClass.setNames(model.classNames);
    this.#interval.setModel(model);
    this.#sampler.replaceChildren(
      ...model.samplers.map(({ name }) => h("option", { value: name }, name)),
    );
    const size = `${model.imageSize} × ${model.imageSize}`;
    this.#about.textContent = `${countText(model.parameters)} parameters, ${size} pixels`;
  }

  #slider(
    name: keyof Parameters,
    label: string,
    [least, most]: readonly [number, number],
    more: { grain?: number; isLogarithmic?: boolean; help?: string } = {},
  ): Slider {
    return new Slider({
      label,
      least,
      most,
      ...more,
      onInput: (value) => this.#set({ [name]: value }),
    });
  }

  #set(changed: Partial<Parameters>): void {
    const [model, before] = [this.#model, this.#parameters];
    if (model === null || before === null) return;
    const after = fitted({ ...before, ...changed }, model, before);
    this.#actions.onChange(after);
  }

  #setSampler(sampler: string): void {
    if (this.#model === null) return;
    this.#set({ sampler, steps: samplerOf(this.#model, sampler).usual });
  }

  #reset(): void {
    if (this.#model === null) return;
    const { sampler, steps, eta, guidance, interval } = usualParameters(this.#model);
    this.#set({ sampler, steps, eta, guidance, interval });
  }
}
