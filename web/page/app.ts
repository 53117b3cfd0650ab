/** The page as a whole: its views, what draws for them, and the address that says what is shown. */
import { ADDRESSES } from "../addresses.ts";
import { HttpEngine } from "../http_engine.ts";
import type { Engine, ModelInfo } from "../protocol.ts";
import type { Runs } from "../runs.ts";
import type { Site } from "../site.ts";
import { type BrowserDevice, WorkerEngine } from "../worker_engine.ts";
import { WorkerTrainer } from "../worker_trainer.ts";
import { keep, kept } from "./base/kept.ts";
import { Notices } from "./base/notices.ts";
import { messageOf } from "./base/text.ts";
import { themeSwitch } from "./base/theme.ts";
import { Choice } from "./controls/choice.ts";
import { Studio } from "./draw/studio.ts";
import { acceptDrops } from "./drop.ts";
import type { GalleryStore } from "./gallery/store.ts";
import { GalleryView } from "./gallery/view.ts";
import { abilities, whatSlows, whatStops } from "./missing.ts";
import { fillView, isOffered, offerView, showView } from "./navigation.ts";
import { RunsView } from "./runs/view.ts";
import { addressOf, readAddress, type View } from "./state/address.ts";
import { TrainView } from "./train/view.ts";

type Place = Engine["place"];

/** The page. */
export class App {
  readonly #notices = new Notices();
  readonly #studio: Studio;
  readonly #gallery: GalleryView;
  readonly #abilities = abilities();
  readonly #engines = new Map<Place, Engine>();
  readonly #places = new Choice<Place>(
    "Where to draw",
    [{ value: "browser", label: "This browser" }, { value: "server", label: "Server" }],
    (place) => {
      keep("place", place);
      this.#use(this.#engines.get(place)!).catch((error) => this.#tell(error));
    },
  );
  #runs: RunsView | null = null;
  #view: View = readAddress(location.hash).view;
  /** What the last link that was followed says of parameters. */
  #link: Readonly<Record<string, unknown>> = readAddress(location.hash).raw;

  /** Shows the views that every page has. */
  constructor(store: GalleryStore) {
    const openFiles = (files: FileList): void => void this.#studio.openFiles(files);
    this.#studio = new Studio(this.#notices, store, {
      onParameters: () => this.#view === "draw" && this.#writeAddress(),
      onSheet: () => this.#gallery.update(),
      onView: () => this.#go("draw", true),
    });
    this.#gallery = new GalleryView(
      store,
      this.#studio.dialogActions,
      openFiles,
      () => this.#studio.updateGallery(),
    );
    fillView("draw", this.#studio.element);
    fillView("gallery", this.#gallery.element);
    acceptDrops(document.getElementById("drop")!, openFiles);
    document.getElementById("settings")!.append(themeSwitch());
    showView(this.#view, false);
    this.#listen();
  }

  /**
   * Finds out what the page is given, and draws with it.
   *
   * @throws {Error} where there is nothing to draw with, with what to do.
   */
  async start(): Promise<void> {
    const response = await fetch(ADDRESSES.site);
    if (!response.ok) throw new Error(`${ADDRESSES.site}: the host answered ${response.status}`);
    const site: Site = await response.json();

    if (site.hasServer) {
      const server = new HttpEngine(document.baseURI);
      this.#engines.set("server", server);
      this.#offerRuns(server.runs);
    }
    const stopped = whatStops(this.#abilities);
    const own = stopped === null ? new WorkerEngine(document.baseURI, askedDevice()) : null;
    if (own !== null) this.#engines.set("browser", own);
    const preferred: Place = kept("place") === "browser" ? "browser" : "server";
    const engine = this.#engines.get(preferred) ?? [...this.#engines.values()][0];
    if (engine === undefined) throw new Error(stopped ?? "there is nothing to draw with");
    if (this.#engines.size > 1) this.#studio.offer(this.#places.element);
    await this.#use(engine);

    if (site.trainingData !== null && own !== null) this.#offerTraining(site.trainingData, own);
    if (!isOffered(this.#view)) this.#go("draw", false);
    // the one that is followed last: there may have been others while models were on their way
    if (Object.keys(this.#link).length > 0 && !this.#studio.use(this.#link)) this.#tellOfModel();
    document.documentElement.dataset["ready"] = "";
  }

  /** Draws with an engine from now on. */
  async #use(engine: Engine): Promise<void> {
    const hint = engine.place === "browser" ? whatSlows(this.#abilities) : null;
    try {
      await this.#studio.setEngine(engine, hint ?? "");
    } finally {
      const { place } = this.#studio; // the one before, where this one has no models
      if (place !== null) this.#places.show(place);
    }
  }

  #offerRuns(runs: Runs): void {
    this.#runs = new RunsView(runs);
    fillView("runs", this.#runs.element);
    offerView("runs");
    this.#runs.setShown(this.#view === "runs");
  }

  #offerTraining(data: string, own: WorkerEngine): void {
    const trainer = new WorkerTrainer(document.baseURI, data, askedDevice());
    const train = new TrainView(trainer, this.#notices, {
      onModel: (model, weights) => own.addModel(model, weights),
      onDraw: async ({ id }: ModelInfo) => {
        await this.#use(own);
        this.#studio.use({ model: id });
        this.#go("draw", true);
      },
    });
    fillView("train", train.element);
    offerView("train");
    train.prepare().catch((error) => this.#tell(error));
  }

  #listen(): void {
    addEventListener("hashchange", ({ newURL }) => {
      // not that of now: parameters that changed meanwhile have been written over it
      const { view, raw } = readAddress(new URL(newURL).hash);
      this.#go(view, true);
      if (view !== "draw") return;
      if (Object.keys(raw).length > 0) void this.#follow(raw);
      else void this.#studio.refresh();
    });
    addEventListener("focus", () => void this.#studio.refresh());
    addEventListener("keydown", (event) => {
      const isElsewhere = event.defaultPrevented || document.querySelector("dialog[open]") !== null;
      if (event.key === "Escape" && !isElsewhere && this.#view === "draw") this.#studio.cancel();
    });
    document.getElementById("skip")!.addEventListener("click", (event) => {
      event.preventDefault(); // the address is the views'
      document.getElementById("main")!.focus();
    });
  }

  /** Shows what a link says; before there are models, {@link start} does. */
  async #follow(raw: Readonly<Record<string, unknown>>): Promise<void> {
    this.#link = raw;
    if (this.#studio.parameters !== null && !await this.#studio.follow(raw)) this.#tellOfModel();
  }

  #go(view: View, takesFocus: boolean): void {
    this.#view = view;
    showView(view, takesFocus);
    this.#runs?.setShown(view === "runs");
    this.#writeAddress();
  }

  #writeAddress(): void {
    history.replaceState(null, "", addressOf(this.#view, this.#studio.parameters));
  }

  #tellOfModel(): void {
    this.#notices.show("The model of this link is not here: another one is chosen.", true);
  }

  #tell(error: unknown): void {
    this.#notices.show(messageOf(error), true);
  }
}

/** What the address asks to compute on: `?device=wasm` or `?device=webgpu`. */
function askedDevice(): BrowserDevice {
  const asked = new URLSearchParams(location.search).get("device");
  return asked === "wasm" || asked === "webgpu" ? asked : "auto";
}
