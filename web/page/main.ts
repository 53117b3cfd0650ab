/** Starts the page, or says in it why it cannot start. */
import { App } from "./app.ts";
import { h } from "./base/dom.ts";
import { messageOf } from "./base/text.ts";
import { GalleryStore } from "./gallery/store.ts";

try {
  await new App(await GalleryStore.open()).start();
} catch (error) {
  console.error(error);
  document.getElementById("main")!.prepend(
    h(
      "div",
      { class: "missing", role: "alert" },
      h("h2", {}, "The studio cannot start"),
      h("p", {}, messageOf(error)),
    ),
  );
}
