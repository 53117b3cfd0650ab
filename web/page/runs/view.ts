/** Training runs as they go: what they measure, as curves in common charts, and what they draw. */
import { h, replace, setAttribute } from "../base/dom.ts";
import { isAbort, messageOf, secondsText, shortNumber } from "../base/text.ts";
import type { RunInfo, Runs } from "../../runs.ts";
import { Chart, COLOURS } from "./chart.ts";
import { Follower } from "./follower.ts";
import { lastOfTraining, measuresOf } from "./measured.ts";
import { RunPictures } from "./pictures.ts";

/** Milliseconds between two looks. */
const EVERY = 3000;

/** Runs that are shown side by side at most: there are no more colours. */
const MOST_SHOWN = COLOURS;

interface Shown {
  readonly colour: number;
  readonly follower: Follower;
  readonly pictures: RunPictures;
}

/** The view. */
export class RunsView {
  /** To be put into the page. */
  readonly element: HTMLElement;
  readonly #runs: Runs;
  readonly #status = h("p", { class: "lead" }, "Looks for runs.");
  readonly #rows = h("tbody", {});
  readonly #table: HTMLElement;
  readonly #charts = h("div", { class: "charts" });
  readonly #pictures = h("div", { class: "run-pictures" });
  readonly #byMeasure = new Map<string, Chart>();
  readonly #byRun = new Map<string, HTMLTableRowElement>();
  readonly #shown = new Map<string, Shown>();
  #list: readonly RunInfo[] = [];
  #isFirst = true;
  #ended: AbortController | null = null;

  /** Looks for nothing until it is shown. */
  constructor(runs: Runs) {
    this.#runs = runs;
    const heads = ["Run", "Model", "State", "Step", "Loss", "Trained for", "Checkpoint"];
    this.#table = h(
      "div",
      { class: "scroll", role: "region", tabindex: 0, "aria-label": "Runs" },
      h(
        "table",
        {},
        h("caption", { class: "unseen" }, "Training runs, the newest first"),
        h("thead", {}, h("tr", {}, ...heads.map((head) => h("th", { scope: "col" }, head)))),
        this.#rows,
      ),
    );
    this.element = h(
      "div",
      { class: "runs" },
      this.#status,
      this.#table,
      this.#charts,
      this.#pictures,
    );
    this.#table.hidden = true;
  }

  /** Looks every few seconds while it is shown. */
  setShown(isShown: boolean): void {
    if (!isShown) this.#ended?.abort();
    else if (this.#ended === null || this.#ended.signal.aborted) {
      this.#ended = new AbortController();
      void this.#follow(this.#ended.signal);
    }
  }

  async #follow(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        if (!document.hidden) await this.#look(signal);
      } catch (error) {
        if (isAbort(error)) return;
        this.#status.textContent = `Runs cannot be read at the moment: ${messageOf(error)}`;
      }
      await new Promise((resolve) => setTimeout(resolve, EVERY));
    }
  }

  async #look(signal: AbortSignal): Promise<void> {
    const list = await this.#runs.list(signal);
    this.#list = list;
    for (const id of this.#shown.keys()) {
      if (!list.some((run) => run.id === id)) this.#shown.delete(id);
    }
    if (this.#isFirst && list.length > 0) {
      const going = list.filter(({ state }) => state === "going").slice(0, MOST_SHOWN);
      for (const { id } of going.length > 0 ? going : list.slice(0, 1)) this.#add(id);
      this.#isFirst = false;
    }
    const problems = await Promise.all(
      [...this.#shown].map(async ([id, { follower }]) => {
        try {
          await follower.read(signal);
        } catch (error) {
          return `${this.#titleOf(id)} cannot be read at the moment: ${messageOf(error)}`;
        }
      }),
    );
    signal.throwIfAborted();
    this.#show();
    const problem = problems.find((problem) => problem !== undefined);
    if (problem !== undefined) this.#status.textContent = problem; // others are shown all the same
  }

  #add(id: string): void {
    const used = new Set([...this.#shown.values()].map(({ colour }) => colour));
    const colour = Array.from({ length: COLOURS }, (_, i) => i).find((i) => !used.has(i));
    if (colour === undefined) return;
    const follower = new Follower(this.#runs, id);
    this.#shown.set(id, { colour, follower, pictures: new RunPictures(this.#runs, id) });
  }

  #toggle(id: string): void {
    if (this.#shown.has(id)) this.#shown.delete(id);
    else this.#add(id);
    this.#show();
    const signal = this.#ended?.signal;
    const follower = this.#shown.get(id)?.follower;
    if (signal && follower) {
      follower.read(signal).then(() => this.#show(), () => {}); // the next look says what is wrong
    }
  }

  #show(): void {
    this.#table.hidden = this.#list.length === 0;
    const going = this.#list.filter(({ state }) => state === "going").length;
    this.#status.textContent = this.#list.length === 0
      ? "No runs yet. Start one with deno task train, and it appears here."
      : `${
        going === 0 ? "None is" : `${going} ${going === 1 ? "is" : "are"}`
      } going. Choose up to ${MOST_SHOWN} to see side by side.`;
    this.#showRows();
    const lines = [...this.#shown.values()].flatMap(({ follower }) => [...follower.lines]);
    const measures = measuresOf(lines);
    for (const measure of measures) {
      let chart = this.#byMeasure.get(measure.name);
      if (chart === undefined) {
        this.#byMeasure.set(measure.name, chart = new Chart(measure.title, measure.unit, measure));
      }
      chart.show([...this.#shown].map(([id, { colour, follower }]) => ({
        label: this.#titleOf(id),
        colour,
        points: follower.lines.flatMap((line) => {
          const y = line[measure.name];
          return y === undefined ? [] : [{ x: line.step, y }];
        }),
      })));
    }
    const charts = measures.map(({ name }) => this.#byMeasure.get(name)!.element);
    if (
      [...this.#charts.children].some((child, i) => child !== charts[i]) ||
      charts.length !== this.#charts.childElementCount
    ) replace(this.#charts, ...charts);
    const pictures = [...this.#shown].flatMap(([id, { colour, pictures }]) => {
      const run = this.#list.find((run) => run.id === id);
      if (!run || run.drawn.length === 0) return [];
      pictures.show(run, colour);
      return [pictures.element];
    });
    if (
      pictures.some((element) => element.parentElement !== this.#pictures) ||
      pictures.length !== this.#pictures.childElementCount
    ) replace(this.#pictures, ...pictures);
  }

  #titleOf(id: string): string {
    return this.#list.find((run) => run.id === id)?.title ?? id;
  }

  #showRows(): void {
    const focused = (document.activeElement as HTMLElement | null)?.dataset["run"];
    const rows = this.#list.map((run) => {
      const row = renewed(this.#byRun.get(run.id), this.#row(run));
      this.#byRun.set(run.id, row);
      return row;
    });
    for (const id of this.#byRun.keys()) {
      if (!this.#list.some((run) => run.id === id)) this.#byRun.delete(id);
    }
    const { children } = this.#rows;
    if (children.length !== rows.length || rows.some((row, i) => row !== children[i])) {
      replace(this.#rows, ...rows);
    }
    if (focused !== undefined) {
      this.#rows.querySelector<HTMLElement>(`[data-run="${CSS.escape(focused)}"]`)
        ?.focus({ preventScroll: true }); // the visitor may look at charts by now
    }
  }

  #row(run: RunInfo): HTMLTableRowElement {
    const shown = this.#shown.get(run.id);
    const last = shown && lastOfTraining(shown.follower.lines);
    const box = h("input", {
      type: "checkbox",
      "data-run": run.id,
      onchange: () => this.#toggle(run.id),
    });
    box.checked = shown !== undefined;
    setAttribute(box, "disabled", !shown && this.#shown.size >= MOST_SHOWN);
    const steps = run.steps === null ? "" : ` of ${run.steps.toLocaleString("en")}`;
    const share = run.steps ? run.step / run.steps : 0;
    const state = { going: "going", ended: "stopped", finished: "finished" }[run.state];
    const loss = last?.["loss"];
    return h(
      "tr",
      { class: shown ? "shown" : null },
      h(
        "th",
        { scope: "row" },
        h(
          "label",
          { class: "check" },
          box,
          h("i", { class: shown ? `dot colour-${shown.colour}` : "dot none" }),
          run.title,
        ),
      ),
      h("td", {}, run.model),
      h("td", {}, h("span", { class: `badge ${run.state}` }, state)),
      h(
        "td",
        {},
        `${run.step.toLocaleString("en")}${steps}`,
        run.state === "going" &&
          h("progress", { max: 1, value: share, "aria-label": `Progress of ${run.title}` }),
      ),
      h("td", {}, loss === undefined ? "" : shortNumber(loss)),
      h("td", {}, last?.["seconds"] === undefined ? "" : secondsText(last["seconds"])),
      h(
        "td",
        {},
        run.checkpoint !== null && h("a", {
          href: `#/draw?model=${encodeURIComponent(run.checkpoint)}`,
          "aria-label": `Draw with the newest checkpoint of ${run.title}`,
          "data-run": `draw ${run.id}`,
        }, "draw with it"),
      ),
    );
  }
}

/**
 * A row with what another one says: cells that say the same stay, since the visitor may be pressing
 * what is in one of them.
 */
function renewed(row: HTMLTableRowElement | undefined, fresh: HTMLTableRowElement) {
  if (row === undefined) return fresh;
  row.className = fresh.className;
  [...fresh.cells].forEach((cell, i) => {
    const before = row.cells[i]!;
    if (!cell.isEqualNode(before)) before.replaceWith(cell);
  });
  return row;
}
