/** Light, dark, or as the visitor's system is. */
import { Choice } from "../controls/choice.ts";
import { icon } from "./dom.ts";
import { keep, kept } from "./kept.ts";

type Theme = "system" | "light" | "dark";

/** Sets the theme that was chosen before, and gives the switch. */
export function themeSwitch(): HTMLElement {
  const apply = (theme: Theme): void => {
    if (theme === "system") delete document.documentElement.dataset["theme"];
    else document.documentElement.dataset["theme"] = theme;
  };
  const choice = new Choice<Theme>(
    "Colours",
    [
      { value: "system", label: "as the system", symbol: icon("half") },
      { value: "light", label: "light", symbol: icon("sun") },
      { value: "dark", label: "dark", symbol: icon("moon") },
    ],
    (theme) => {
      apply(theme);
      keep("theme", theme);
    },
    true,
  );
  const before = kept("theme");
  const theme: Theme = before === "light" || before === "dark" ? before : "system";
  choice.show(theme);
  apply(theme);
  return choice.element;
}
