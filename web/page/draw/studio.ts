/** The drawing view with its queue: from the form by way of an engine to stage and gallery. */
import { h } from "../base/dom.ts";
import { keep, kept } from "../base/kept.ts";
import type { Notices } from "../base/notices.ts";
import { messageOf, plural, secondsText } from "../base/text.ts";
import { openPicture } from "../gallery/dialog.ts";
import { Roll } from "../gallery/roll.ts";
import { readRecord, type Sheet, sheetOf } from "../gallery/sheet.ts";
import type { GalleryStore } from "../gallery/store.ts";
import type { Engine, ModelInfo } from "../../protocol.ts";
import { QueueList } from "../stage/queue_list.ts";
import { Stage, stateText } from "../stage/stage.ts";
import { fitted, type Parameters, randomSeed, usualParameters } from "../state/parameters.ts";
import { DrawingQueue, type Job } from "../state/queue.ts";
import { DrawForm } from "./form.ts";

/** What the view tells the page. */
export interface StudioEvents {
  /** There are other parameters, which the address is to say. */
  readonly onParameters: () => void;
  /** The gallery has another sheet. */
  readonly onSheet: () => void;
  /** The visitor is to see the drawing view. */
  readonly onView: () => void;
}

/** Largest file that is looked into, in bytes: the page's own are far smaller. */
const MOST_FILE = 1 << 26;

/** The view. */
export class Studio {
  /** To be put into the page. */
  readonly element: HTMLElement;
  readonly #notices: Notices;
  readonly #gallery: GalleryStore;
  readonly #events: StudioEvents;
  readonly #form: DrawForm;
  readonly #stage: Stage;
  readonly #list: QueueList;
  readonly #roll: Roll;
  readonly #queue = new DrawingQueue((job) => this.#update(job));
  readonly #sheets = new Map<number, Promise<Sheet>>();
  #engine: Engine | null = null;
  /** The engine that is to draw next, as long as its models are not known. */
  #arriving: { readonly engine: Engine; readonly models: Promise<readonly ModelInfo[]> } | null =
    null;
  /** The link that is followed, as long as its model is asked for. */
  #following: Promise<boolean> | null = null;
  #models: readonly ModelInfo[] = [];
  #model: ModelInfo | null = null;
  #prepared: ModelInfo | null = null;
  #parameters: Parameters | null = null;
  #isLocked = kept("lock") === "locked";
  /** Whether the seed that the form shows has been drawn: the next drawing has another one then. */
  #isSeedUsed = false;

  /** Draws nothing until there is an engine. */
  constructor(notices: Notices, gallery: GalleryStore, events: StudioEvents) {
    [this.#notices, this.#gallery, this.#events] = [notices, gallery, events];
    const cancel = (job: Job): void => this.#queue.cancel(job.id);
    this.#form = new DrawForm({
      onChange: (parameters) => this.#setParameters(parameters),
      onModel: (id) => this.#setModel(id),
      onLock: (isLocked) => {
        this.#isLocked = isLocked;
        keep("lock", isLocked ? "locked" : "free");
        this.#form.showLock(isLocked);
      },
      onDraw: () => void this.draw(),
    });
    this.#form.showLock(this.#isLocked);
    this.#form.setReady(false);
    this.#stage = new Stage({
      onOpen: (job, index) => void this.#open(job, index),
      onCancel: cancel,
    });
    this.#list = new QueueList(cancel);
    this.#roll = new Roll(gallery, this.dialogActions);
    this.element = h(
      "div",
      { class: "studio" },
      this.#form.element,
      h(
        "div",
        { class: "work" },
        h("div", {}, this.#stage.element, this.#list.element),
        this.#roll.element,
      ),
    );
  }

  /** What the form shows; null before there are models. */
  get parameters(): Parameters | null {
    return this.#parameters;
  }

  /** Where the next drawing is drawn; null before there is an engine. */
  get place(): Engine["place"] | null {
    return (this.#arriving?.engine ?? this.#engine)?.place ?? null;
  }

  /** Puts a choice before all others of the form. */
  offer(choice: HTMLElement): void {
    this.#form.prepend(choice);
  }

  /**
   * Draws with an engine from now on; parameters stay where its models allow. Of several that are set
   * before their models are known, the last one stays.
   *
   * @param hint What the visitor should know of it.
   * @throws {Error} where it has no models; the engine before stays.
   */
  async setEngine(engine: Engine, hint: string): Promise<void> {
    const arriving = { engine, models: modelsOf(engine) };
    this.#arriving = arriving;
    let models: readonly ModelInfo[];
    try {
      models = await arriving.models;
      if (this.#arriving !== arriving) return;
    } finally {
      if (this.#arriving === arriving) this.#arriving = null;
    }
    [this.#engine, this.#models] = [engine, models];
    this.#form.setModels(models);
    this.#form.showHint(hint);
    const model = models.find(({ id }) => id === this.#parameters?.model) ?? models[0]!;
    this.#model = model;
    this.#setParameters(
      this.#parameters ? fitted({ ...this.#parameters }, model) : usualParameters(model),
    );
    this.#form.setReady(true);
  }

  /**
   * Looks which models there are now: a run that goes on has another checkpoint now and then. What
   * the form shows stays.
   */
  async refresh(): Promise<void> {
    const [engine, model, parameters] = [this.#engine, this.#model, this.#parameters];
    if (engine === null || model === null || parameters === null) return;
    const models = await engine.models().catch(() => this.#models); // the next drawing says why
    if (engine !== this.#engine || JSON.stringify(models) === JSON.stringify(this.#models)) return;
    const isThere = models.some(({ id }) => id === model.id);
    this.#models = isThere ? models : [...models, model]; // it is refused with a reason when it is gone
    this.#form.setModels(this.#models);
    this.#form.show(this.#model ?? model, this.#parameters ?? parameters);
  }

  /**
   * Shows parameters that are from outside of the page.
   *
   * @returns Whether the model that they name is here.
   */
  use(raw: Readonly<Record<string, unknown>>): boolean {
    const named = this.#models.find(({ id }) => id === raw["model"]);
    const model = named ?? this.#model;
    if (model === null) return false;
    this.#model = model;
    const before = this.#parameters?.model === model.id ? this.#parameters : undefined;
    this.#setParameters(fitted(raw, model, before));
    this.#isSeedUsed = false;
    return named !== undefined || raw["model"] === undefined;
  }

  /**
   * Shows parameters of a link: at once, and again where its model is a new one that the page has not
   * heard of, unless the visitor has gone on by then.
   *
   * @returns Whether the model is here.
   */
  async follow(raw: Readonly<Record<string, unknown>>): Promise<boolean> {
    const isKnown = this.use(raw);
    const shown = this.#parameters;
    const refreshed = this.refresh();
    if (isKnown) return true;
    const following = refreshed.then(() => this.#parameters !== shown || this.use(raw));
    this.#following = following;
    try {
      return await following;
    } finally {
      if (this.#following === following) this.#following = null;
    }
  }

  /** Asks for what the form shows, of the engine that was set last. */
  async draw(): Promise<void> {
    while (this.#arriving !== null || this.#following !== null) {
      try {
        await (this.#arriving?.models ?? this.#following);
      } catch {
        return; // whoever set it says why
      }
    }
    const [engine, model, parameters] = [this.#engine, this.#model, this.#parameters];
    if (engine === null || model === null || parameters === null) return;
    const isFirst = this.#queue.open.length === 0;
    const hasNewSeed = this.#isSeedUsed && !this.#isLocked;
    const next = hasNewSeed ? { ...parameters, seed: randomSeed() } : parameters;
    this.#setParameters(next);
    this.#isSeedUsed = true;
    this.#stage.reveal();
    const { ahead } = this.#queue.add(engine, model, next);
    if (!isFirst) this.#notices.say(`Waits: ${ahead} before it`);
  }

  /** Ends what is being drawn, what is in sight first; whether there was something. */
  cancel(): boolean {
    const { open } = this.#queue;
    const job = open.find(({ id }) => id === this.#stage.job?.id) ?? open[0];
    if (job === undefined) return false;
    this.#queue.cancel(job.id);
    return true;
  }

  /** Shows what the gallery holds now. */
  updateGallery(): void {
    this.#roll.update();
  }

  /** Brings the parameters of PNG files back: those of the first one that has any. */
  async openFiles(files: Iterable<File>): Promise<void> {
    let problem = "There was no file.";
    for (const file of files) {
      try {
        if (file.size > MOST_FILE) {
          throw new Error("this file is too large to be a picture of a studio");
        }
        const { parameters } = await readRecord(new Uint8Array(await file.arrayBuffer()));
        const isHere = this.use(parameters);
        this.#events.onView();
        this.#notices.show(
          isHere
            ? `The parameters of ${file.name} are back.`
            : `The parameters of ${file.name} are back, but the model that drew it, ${
              String(parameters["model"]).slice(0, 100)
            }, is not here: another one is chosen.`,
        );
        return;
      } catch (error) {
        problem = `${file.name}: ${messageOf(error)}.`;
      }
    }
    this.#notices.show(problem, true);
  }

  /** What a picture's dialog can do. */
  readonly dialogActions = {
    onUse: (parameters: Parameters): void => {
      this.use({ ...parameters });
      this.#events.onView();
    },
    onNotice: (text: string, isError?: boolean): void => this.#notices.show(text, isError),
  };

  #setModel(id: string): void {
    const model = this.#models.find((model) => model.id === id);
    if (model === undefined) return;
    this.#model = model;
    const { mode, seed, otherSeed, labels } = this.#parameters ?? usualParameters(model);
    this.#setParameters(fitted({ mode, seed, otherSeed, labels }, model, usualParameters(model)));
  }

  #setParameters(parameters: Parameters): void {
    if (parameters.seed !== this.#parameters?.seed) this.#isSeedUsed = false;
    this.#parameters = parameters;
    if (this.#model) {
      this.#form.show(this.#model, parameters);
      this.#prepare(this.#model);
    }
    this.#events.onParameters();
  }

  /** Lets the engine get ready for a model, once; in a hidden page it is not likely to be asked for. */
  #prepare(model: ModelInfo): void {
    if (this.#prepared === model || document.hidden) return;
    this.#prepared = model;
    this.#engine?.prepare?.(model);
  }

  #update(job: Job): void {
    const isOpen = job.state === "waiting" || job.state === "running";
    const shown = this.#stage.job;
    const isNext = job.state === "running" && shown?.state !== "running";
    if (shown === null || shown.id === job.id || isNext) this.#stage.show(job);
    this.#list.show(this.#queue.open);
    const { request, state } = job;
    if (state === "running") this.#notices.progress(stateText(job));
    else if (!isOpen) this.#notices.say(stateText(job));
    if (state === "failed") {
      this.#notices.show(
        `${plural(request.pictures.length, "picture")} failed: ${job.error}`,
        true,
      );
    }
    if (state === "done") void this.#keep(job);
  }

  async #keep(job: Job): Promise<void> {
    const making = sheetOf(job);
    this.#sheets.set(job.id, making);
    for (const id of this.#sheets.keys()) { // only the one that is shown can be opened from the stage
      if (id !== this.#stage.job?.id) this.#sheets.delete(id);
    }
    try {
      await this.#gallery.add(await making);
    } catch (error) {
      this.#notices.show(
        `The gallery could not keep this drawing: ${
          messageOf(error)
        }. Download what you want to keep.`,
        true,
      );
    }
    this.#roll.update();
    this.#events.onSheet();
    this.#notices.say(`Drawn in ${secondsText(job.seconds ?? 0)}`);
  }

  async #open(job: Job, index: number): Promise<void> {
    const sheet = await this.#sheets.get(job.id)?.catch(() => undefined);
    if (sheet) openPicture(sheet, index, this.dialogActions);
  }
}

async function modelsOf(engine: Engine): Promise<readonly ModelInfo[]> {
  const models = await engine.models();
  if (models.length === 0) throw new Error("there is no model to draw with");
  return models;
}
