/** Training a small model in the page: settings, curve, samples, and what to do with what was trained. */
import { h, icon, replace } from "../base/dom.ts";
import type { Notices } from "../base/notices.ts";
import { canvasOf, paint } from "../base/pictures.ts";
import { bytesText, messageOf, plural, secondsText, shortNumber } from "../base/text.ts";
import { SeedField } from "../controls/seed_field.ts";
import { Slider } from "../controls/slider.ts";
import { download } from "../gallery/download.ts";
import type { ModelInfo, Picture } from "../../protocol.ts";
import { Chart } from "../runs/chart.ts";
import type { Point } from "../runs/scales.ts";
import type { Trainer, Training, TrainingEvent, TrainingRequest } from "../../trainer.ts";

/** Milliseconds between two drawings of the curve. */
const EVERY = 250;

/** Steps between two sets of samples at most, unless the visitor wants it so: there is much to see. */
const SAMPLE_EVERY = 50;

/** What the view asks of the page. */
export interface TrainActions {
  /** A model was trained, which can be drawn with. */
  readonly onModel: (model: ModelInfo, weights: Blob) => void;
  /** The visitor wants to draw with it. */
  readonly onDraw: (model: ModelInfo) => Promise<void>;
}

/** Settings that have sliders. */
type Slid = "steps" | "batchSize" | "learningRate" | "sampleEvery";

interface Samples {
  readonly step: number;
  readonly pictures: readonly Picture[];
  readonly labels: readonly number[];
}

/** The view. */
export class TrainView {
  /** To be put into the page. */
  readonly element: HTMLElement;
  readonly #trainer: Trainer;
  readonly #notices: Notices;
  readonly #actions: TrainActions;
  readonly #title = h("p", { class: "lead" });
  readonly #sliders: Readonly<Record<Slid, Slider>>;
  readonly #seed = new SeedField("Seed", (seed) => this.#set({ seed }));
  readonly #start = h("button", { type: "submit", class: "primary" }, "Train");
  readonly #stop = h("button", { type: "button", class: "primary", hidden: true }, "Stop");
  readonly #settings = h("fieldset", {});
  readonly #intro = h(
    "p",
    { class: "lead" },
    "A network that knows nothing yet learns to draw in this page, from pictures that it loads once. " +
      "Its loss and what it draws appear here as it learns; stop whenever you like, and draw with it.",
  );
  readonly #state = h("p", { class: "state" });
  readonly #progress = h("progress", {
    max: 1,
    value: 0,
    "aria-label": "Progress of the training",
    hidden: true,
  });
  readonly #chart = new Chart("Loss", "", { isLogarithmic: true, isSmooth: true });
  readonly #grid = h("div", { class: "contact", role: "img", hidden: true });
  readonly #slider: HTMLInputElement;
  readonly #sampledText = h("output", {});
  readonly #rewind: HTMLElement;
  readonly #result = h("div", { class: "buttons", hidden: true });
  #request: TrainingRequest | null = null;
  #training: Training | null = null;
  #points: Point[] = [];
  #samples: Samples[] = [];
  #isCancelled = false;
  #isNewest = true;
  #drawn = 0;

  /** Trains nothing until the visitor wants it to. */
  constructor(trainer: Trainer, notices: Notices, actions: TrainActions) {
    [this.#trainer, this.#notices, this.#actions] = [trainer, notices, actions];
    const slider = (
      name: keyof TrainingRequest,
      label: string,
      [least, most, grain]: readonly [number, number, number],
      isLogarithmic = false,
    ): Slider =>
      new Slider({
        label,
        least,
        most,
        grain,
        isLogarithmic,
        onInput: (value) => this.#set({ [name]: value }),
      });
    this.#sliders = {
      steps: slider("steps", "Steps", [10, 5000, 1], true),
      batchSize: slider("batchSize", "Images a step", [4, 128, 4]),
      learningRate: slider("learningRate", "Learning rate", [0.0001, 0.005, 0.0001]),
      sampleEvery: slider("sampleEvery", "Steps between samples", [5, 500, 5]),
    };
    this.#slider = h("input", {
      type: "range",
      id: "trained",
      min: 0,
      oninput: () => {
        this.#isNewest = Number(this.#slider.value) === this.#samples.length - 1;
        this.#look();
      },
    });
    this.#rewind = h(
      "div",
      { class: "rewind", hidden: true },
      h("label", { for: "trained" }, "After"),
      this.#slider,
      this.#sampledText,
    );
    this.#stop.addEventListener("click", ({ detail }) => {
      // a second quick click is meant for "Train", in whose place it is
      if (detail < 2) this.#end();
    });
    this.#settings.append(
      ...Object.values(this.#sliders).map(({ element }) => element),
      this.#seed.element,
    );
    this.element = h(
      "div",
      { class: "studio train" },
      h(
        "form",
        {
          class: "panel",
          "aria-label": "How to train",
          onsubmit: (event: SubmitEvent) => {
            event.preventDefault();
            void this.#train();
          },
        },
        this.#title,
        this.#settings,
        h("div", { class: "actions" }, this.#start, this.#stop),
      ),
      h(
        "div",
        {},
        this.#intro,
        h("div", { class: "run" }, this.#state, this.#progress),
        this.#result,
        h(
          "div",
          { class: "learning" },
          this.#chart.element,
          h("div", {}, this.#grid, this.#rewind),
        ),
      ),
    );
    this.#chart.element.hidden = true;
  }

  /** Asks the trainer what it trains, and shows its usual settings. */
  async prepare(): Promise<void> {
    const { title, usual } = await this.#trainer.info();
    this.#title.textContent = title;
    this.#request = { ...usual, sampleEvery: Math.min(usual.sampleEvery, SAMPLE_EVERY) };
    this.#show();
  }

  #set(changed: Partial<TrainingRequest>): void {
    if (this.#request === null) return;
    this.#request = { ...this.#request, ...changed };
    this.#show();
  }

  #show(): void {
    if (this.#request === null) return;
    for (const [name, slider] of Object.entries(this.#sliders)) {
      slider.show(this.#request[name as Slid]);
    }
    this.#seed.show(this.#request.seed);
  }

  async #train(): Promise<void> {
    try {
      if (this.#request === null) await this.prepare(); // it may go better than the first time
    } catch (error) {
      return this.#notices.show(messageOf(error), true);
    }
    const request = this.#request;
    if (request === null || this.#training !== null) return;
    [this.#points, this.#samples, this.#isNewest] = [[], [], true];
    this.#setRunning(true);
    this.#grid.hidden = this.#rewind.hidden = true; // of the training before
    this.#intro.hidden = true;
    this.#state.classList.remove("error");
    this.#state.textContent = "Begins";
    const { top } = this.#state.getBoundingClientRect();
    if (top < 0 || top > innerHeight / 2) this.#state.scrollIntoView({ block: "center" });
    try {
      this.#training = this.#trainer.train(request, (event) => this.#hear(event, request));
      await this.#training.finished;
    } catch (error) {
      if (this.#isCancelled) this.#state.textContent = "Stopped before the first step";
      else {
        this.#state.textContent = `It failed: ${messageOf(error)}`;
        this.#state.classList.add("error");
        this.#notices.show(`The training failed: ${messageOf(error)}`, true);
      }
    } finally {
      this.#training = null;
      this.#isCancelled = false;
      this.#setRunning(false);
    }
  }

  /** Stops the training; at once where it has learned nothing yet, since data may take long. */
  #end(): void {
    if (this.#points.length > 0) return this.#training?.stop();
    this.#isCancelled = true;
    this.#training?.cancel();
  }

  #setRunning(isRunning: boolean): void {
    const hadFocus = [this.#start, this.#stop].includes(
      document.activeElement as HTMLButtonElement,
    );
    this.#settings.disabled = isRunning;
    this.#start.hidden = isRunning;
    this.#stop.hidden = !isRunning;
    this.#progress.hidden = !isRunning;
    if (isRunning) this.#result.hidden = true;
    if (hadFocus) (isRunning ? this.#stop : this.#start).focus();
  }

  #hear(event: TrainingEvent, { steps }: TrainingRequest): void {
    switch (event.kind) {
      case "loading": {
        const { done, total } = event;
        this.#state.textContent = `Loads the data: ${bytesText(done)} of ${bytesText(total)}`;
        this.#progress.value = total > 0 ? done / total : 0;
        break;
      }
      case "step": {
        const { step, loss, seconds } = event;
        this.#points.push({ x: step, y: loss });
        const left = (steps - step) * seconds / step;
        this.#state.textContent = `Step ${step} of ${steps}, loss ${shortNumber(loss)}, ` +
          `${secondsText(seconds / step)} a step, about ${secondsText(left)} left`;
        this.#progress.value = step / steps;
        this.#notices.progress(`Step ${step} of ${steps}, loss ${shortNumber(loss)}`);
        if (performance.now() - this.#drawn > EVERY) this.#draw();
        break;
      }
      case "samples":
        this.#samples.push(event);
        this.#look();
        break;
      case "done": {
        const { step, seconds, device, model, weights } = event;
        this.#draw();
        this.#state.textContent = `Trained ${plural(step, "step")} in ${
          secondsText(seconds)
        } on ${device}`;
        this.#notices.say(this.#state.textContent);
        this.#actions.onModel(model, weights);
        this.#offer(model, weights);
        break;
      }
    }
  }

  #offer(model: ModelInfo, weights: Blob): void {
    replace(
      this.#result,
      h(
        "button",
        { type: "button", onclick: () => void this.#actions.onDraw(model) },
        icon("play"),
        "Draw with this model",
      ),
      h(
        "button",
        { type: "button", onclick: () => download(weights, "trained-in-a-page.safetensors") },
        icon("download"),
        `Download its weights (${bytesText(weights.size)})`,
      ),
    );
    this.#result.hidden = false;
  }

  #draw(): void {
    this.#drawn = performance.now();
    this.#chart.show([{ label: "loss", colour: 0, points: this.#points }]);
  }

  /** Shows the samples that the slider is at; the newest unless the visitor looks at others. */
  #look(): void {
    const last = this.#samples.length - 1;
    this.#slider.max = String(last);
    if (this.#isNewest) this.#slider.value = String(last);
    const samples = this.#samples[Number(this.#slider.value)];
    if (samples === undefined) return;
    const { step, pictures, labels } = samples;
    const text = `step ${step.toLocaleString("en")}`;
    this.#slider.style.setProperty(
      "--share",
      String(Number(this.#slider.value) / Math.max(1, last)),
    );
    this.#slider.setAttribute("aria-valuetext", text);
    this.#sampledText.textContent = text;
    this.#rewind.hidden = last < 1;
    this.#grid.hidden = false;
    this.#grid.setAttribute("aria-label", `Samples after ${text} of classes ${labels.join(", ")}`);
    while (this.#grid.childElementCount > pictures.length) this.#grid.lastElementChild!.remove();
    while (this.#grid.childElementCount < pictures.length) {
      this.#grid.append(h("span", { class: "frame" }, canvasOf()));
    }
    const columns = Math.min(new Set(labels).size, 10);
    this.#grid.style.setProperty(
      "--columns",
      String(columns > 5 ? Math.ceil(columns / 2) : columns),
    );
    pictures.forEach((picture, i) => {
      paint(this.#grid.children[i]!.firstElementChild as HTMLCanvasElement, picture);
    });
  }
}
