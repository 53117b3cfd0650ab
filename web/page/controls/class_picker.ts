/**
 * Classes by name: buttons where they are few; where they are many a field that searches them, with
 * what is chosen before it (the combobox pattern of the ARIA Authoring Practices, with a list).
 */
import { freshId, h, icon, replace, setAttribute } from "../base/dom.ts";
import { LIMITS } from "../state/parameters.ts";
import { ClassSearch } from "../state/class_search.ts";
import { shortName } from "../state/request.ts";

/** Most classes that are shown as buttons. */
const FEW = 12;

/** Letters of a name that fit into a button of a grid. */
const SHORT = 4;

/** Most classes that the list shows at a time. */
const SHOWN = 60;

/** The control. */
export class ClassPicker {
  /** To be put into the page. */
  readonly element: HTMLDivElement;
  #label: string;
  #labelText: HTMLElement = h("span");
  readonly #onChange: (labels: readonly number[]) => void;
  #search = new ClassSearch([]);
  #isSingle: boolean;
  #chosen: readonly number[] = [];
  #show: () => void = () => {};

  /** @param isSingle Whether there is one class and no more. */
  constructor(
    label: string,
    isSingle: boolean,
    onChange: (labels: readonly number[]) => void,
  ) {
    [this.#label, this.#isSingle, this.#onChange] = [label, isSingle, onChange];
    this.element = h("div", { class: "field classes" });
  }

  /** Sets what there is to choose from. */
  setNames(names: readonly string[]): void {
    this.#search = new ClassSearch(names);
    this.#show = names.length <= FEW ? this.#buttons() : this.#combobox();
    this.#show();
  }

  /** Shows what is chosen, of one class or several. */
  show(
    labels: readonly number[],
    isSingle: boolean = this.#isSingle,
    label: string = this.#label,
  ): void {
    [this.#chosen, this.#isSingle, this.#label] = [labels, isSingle, label];
    this.#labelText.textContent = label;
    this.#show();
  }

  #give(labels: readonly number[]): void {
    this.#chosen = labels;
    this.#show();
    this.#onChange(labels);
  }

  /** Adds a class, or takes it away where that leaves others. */
  #toggle(label: number): void {
    if (this.#isSingle) return this.#give([label]);
    const others = this.#chosen.filter((other) => other !== label);
    if (others.length === this.#chosen.length) {
      if (others.length < LIMITS.labels[1]) this.#give([...others, label]);
    } else if (others.length > 0) this.#give(others);
  }

  #buttons(): () => void {
    const id = freshId("classes");
    this.#labelText = h("span", { class: "label", id }, this.#label);
    const buttons = Array.from({ length: this.#search.size }, (_, label) =>
      h("button", {
        type: "button",
        onclick: () => this.#toggle(label),
      }, shortName(this.#search.nameOf(label))));
    const isShort = buttons.every(({ textContent }) => textContent.length <= SHORT);
    replace(
      this.element,
      this.#labelText,
      h(
        "div",
        { class: isShort ? "chips" : "chips words", role: "group", "aria-labelledby": id },
        ...buttons,
      ),
    );
    return () => {
      const chosen = this.#isSingle ? this.#chosen.slice(0, 1) : this.#chosen;
      buttons.forEach((button, label) =>
        button.setAttribute("aria-pressed", String(chosen.includes(label)))
      );
    };
  }

  #combobox(): () => void {
    const [id, listId] = [freshId("search"), freshId("list")];
    this.#labelText = h("label", { for: id }, this.#label);
    const chips = h("ul", { class: "chosen", "aria-label": `${this.#label}: chosen` });
    const list = h("ul", { class: "options", id: listId, role: "listbox", hidden: true });
    list.setAttribute("aria-label", this.#label);
    let [found, active]: [number[], number] = [[], -1];
    const close = (): void => {
      list.hidden = true;
      active = -1;
      setAttribute(input, "aria-expanded", "false");
      input.removeAttribute("aria-activedescendant");
    };
    const choose = (label: number): void => {
      input.value = "";
      close();
      if (this.#isSingle || !this.#chosen.includes(label)) this.#toggle(label);
    };
    const mark = (index: number): void => {
      active = index;
      [...list.children].forEach((option, i) => {
        option.setAttribute("aria-selected", String(i === active));
        if (i !== active) return;
        input.setAttribute("aria-activedescendant", option.id);
        option.scrollIntoView({ block: "nearest" });
      });
    };
    const open = (): void => {
      found = this.#search.find(input.value, SHOWN);
      replace(
        list,
        ...found.map((label) =>
          h(
            "li",
            {
              role: "option",
              id: `${listId}-${label}`,
              // the field keeps the focus
              onpointerdown: (event: PointerEvent) => event.preventDefault(),
              onclick: () => choose(label),
            },
            h("span", {}, this.#search.nameOf(label)),
            h("span", { class: "index" }, String(label)),
          )
        ),
      );
      list.hidden = found.length === 0;
      input.setAttribute("aria-expanded", String(!list.hidden));
      status.textContent = found.length === 0 ? "No class is called that." : "";
      mark(input.value.trim() === "" || found.length === 0 ? -1 : 0);
    };
    const input = h("input", {
      type: "text",
      id,
      role: "combobox",
      autocomplete: "off",
      spellcheck: "false",
      placeholder: `search ${this.#search.size.toLocaleString("en")} classes`,
      "aria-controls": listId,
      "aria-expanded": "false",
      "aria-autocomplete": "list",
      oninput: open,
      onclick: open,
      onblur: close,
      onkeydown: (event: KeyboardEvent) => {
        const { key } = event;
        if (key === "ArrowDown" || key === "ArrowUp") {
          if (list.hidden) open();
          if (found.length > 0) {
            const by = key === "ArrowDown" ? 1 : -1;
            mark(
              active < 0 && by < 0 ? found.length - 1 : (active + by + found.length) % found.length,
            );
          }
          event.preventDefault();
        } else if (key === "Enter" && !list.hidden && active >= 0) {
          choose(found[active]!);
          event.preventDefault();
        } else if (key === "Escape" && !list.hidden) {
          close();
          event.stopPropagation();
        } else if (key === "Backspace" && input.value === "" && this.#chosen.length > 1) {
          this.#toggle(this.#chosen.at(-1)!);
        }
      },
    });
    const status = h("p", { class: "help", role: "status" });
    replace(
      this.element,
      this.#labelText,
      chips,
      h("div", { class: "combobox" }, input, list),
      status,
    );
    return () => {
      const chosen = this.#isSingle ? this.#chosen.slice(0, 1) : this.#chosen;
      replace(
        chips,
        ...chosen.map((label) => {
          const name = shortName(this.#search.nameOf(label));
          const remove = chosen.length > 1 &&
            h("button", {
              type: "button",
              "aria-label": `Without ${name}`,
              onclick: () => {
                this.#toggle(label);
                input.focus();
              },
            }, icon("close"));
          return h("li", { title: this.#search.nameOf(label) }, name, remove);
        }),
      );
    };
  }
}
