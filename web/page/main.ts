/** The page: finds out what it is given, and puts its views together. */
import { ADDRESSES } from "../addresses.ts";
import { HttpEngine } from "../http_engine.ts";
import type { Engine } from "../protocol.ts";
import type { Site } from "../site.ts";
import { WorkerEngine } from "../worker_engine.ts";
import { WorkerTrainer } from "../worker_trainer.ts";
import { h } from "./base/dom.ts";
import { keep, kept } from "./base/kept.ts";
import { Notices } from "./base/notices.ts";
import { messageOf } from "./base/text.ts";
import { themeSwitch } from "./base/theme.ts";
import { Choice } from "./controls/choice.ts";
import { Studio } from "./draw/studio.ts";
import { acceptDrops } from "./drop.ts";
import { GalleryStore } from "./gallery/store.ts";
import { GalleryView } from "./gallery/view.ts";
import { abilities, whatSlows, whatStops } from "./missing.ts";
import { fillView, offerView, showView } from "./navigation.ts";
import { RunsView } from "./runs/view.ts";
import { addressOf, readAddress, type View } from "./state/address.ts";
import { TrainView } from "./train/view.ts";

type Place = Engine["place"];

async function start(): Promise<void> {
  const settings = document.getElementById("settings")!;
  settings.append(themeSwitch());
  const notices = new Notices();
  const gallery = await GalleryStore.open();
  let view: View = readAddress(location.hash).view;

  const studio = new Studio(notices, gallery, {
    onParameters: () => view === "draw" && writeAddress(),
    onSheet: () => galleryView.update(),
    onView: () => go("draw", true),
  });
  const galleryView = new GalleryView(
    gallery,
    studio.dialogActions,
    (files) => void studio.openFiles(files),
    () => studio.updateGallery(),
  );
  fillView("draw", studio.element);
  fillView("gallery", galleryView.element);
  acceptDrops(document.getElementById("drop")!, (files) => void studio.openFiles(files));

  const writeAddress = (): void => {
    history.replaceState(null, "", addressOf(view, studio.parameters));
  };
  let runs: RunsView | null = null;
  const go = (to: View, takesFocus: boolean): void => {
    view = to;
    showView(view, takesFocus);
    runs?.setShown(view === "runs");
    writeAddress();
  };
  addEventListener("hashchange", () => {
    const { view: to, raw } = readAddress(location.hash);
    go(to, true);
    if (to !== "draw") return;
    void studio.refresh().then(() => {
      if (Object.keys(raw).length > 0) studio.use(raw);
    });
  });
  addEventListener("focus", () => void studio.refresh());
  document.getElementById("skip")!.addEventListener("click", (event) => {
    event.preventDefault(); // the address is the views'
    document.getElementById("main")!.focus();
  });
  addEventListener("keydown", (event) => {
    const isElsewhere = event.defaultPrevented || document.querySelector("dialog[open]") !== null;
    if (event.key === "Escape" && !isElsewhere && view === "draw") studio.cancel();
  });

  const { raw } = readAddress(location.hash);
  showView(view, false);
  const response = await fetch(ADDRESSES.site);
  if (!response.ok) throw new Error(`${ADDRESSES.site}: the host answered ${response.status}`);
  const site: Site = await response.json();

  const engines = new Map<Place, Engine>();
  const has = abilities();
  const stopped = whatStops(has);
  if (site.hasServer) {
    const server = new HttpEngine(document.baseURI);
    engines.set("server", server);
    runs = new RunsView(server.runs);
    fillView("runs", runs.element);
    offerView("runs");
    runs.setShown(view === "runs");
  }
  const forced = new URLSearchParams(location.search).get("device");
  const device = forced === "wasm" || forced === "webgpu" ? forced : "auto";
  const own = stopped === null ? new WorkerEngine(document.baseURI, device) : null;
  if (own !== null) engines.set("browser", own);
  const first = engines.get(kept("place") === "browser" ? "browser" : "server") ??
    [...engines.values()][0];
  if (first === undefined) throw new Error(stopped ?? "there is nothing to draw with");
  const use = async (engine: Engine): Promise<void> => {
    await studio.setEngine(engine, engine.place === "browser" ? whatSlows(has) ?? "" : "");
    places.show(engine.place);
  };
  const places = new Choice<Place>(
    "Where to draw",
    [{ value: "browser", label: "This browser" }, { value: "server", label: "Server" }],
    (place) => {
      keep("place", place);
      use(engines.get(place)!).catch((error) => notices.show(messageOf(error), true));
    },
  );
  if (engines.size > 1) studio.offer(places.element);
  await use(first);
  if (site.trainingData !== null && own !== null) {
    const trainer = new WorkerTrainer(document.baseURI, site.trainingData, device);
    const train = new TrainView(trainer, notices, {
      onModel: (model, weights) => own.addModel(model, weights),
      onDraw: async ({ id }) => {
        await use(own);
        studio.use({ model: id });
        go("draw", true);
      },
    });
    fillView("train", train.element);
    offerView("train");
    train.prepare().catch((error) => notices.show(messageOf(error), true));
  }
  if (document.querySelector(`#views li[hidden] a[data-view="${view}"]`)) go("draw", false);
  if (Object.keys(raw).length > 0 && !studio.use(raw)) {
    notices.show("The model of this link is not here: another one is chosen.", true);
  }
  document.documentElement.dataset["ready"] = "";
}

start().catch((error) => {
  console.error(error);
  document.getElementById("main")!.prepend(
    h(
      "div",
      { class: "missing", role: "alert" },
      h("h2", {}, "The studio cannot start"),
      h("p", {}, messageOf(error)),
    ),
  );
});
