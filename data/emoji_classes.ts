/** What emoji show, in classes large enough to be learnt, of what Unicode says of them. */

/** Names of emoji and what Unicode groups them with, over npm: data without code. */
export const EMOJI_LIST = "npm:emoji.json@16.0.0";

/** What is used of an entry of {@link EMOJI_LIST}. */
export interface ListedEmoji {
  /** Such as "grinning face". */
  readonly name: string;
  /** Such as "face-smiling". */
  readonly subgroup: string;
}

/** The subgroups of Unicode's emoji that a class has, which look alike or are few. */
const SUBGROUPS: Readonly<Record<string, readonly string[]>> = {
  "faces": [
    ...["face-smiling", "face-affection", "face-tongue", "face-hand", "face-neutral-skeptical"],
    ...["face-sleepy", "face-unwell", "face-hat", "face-glasses", "face-concerned"],
    ...["face-negative", "face-costume", "cat-face", "monkey-face"],
  ],
  "hearts": ["heart"],
  "hands": [
    ...["hand-fingers-open", "hand-fingers-partial", "hand-single-finger", "hand-fingers-closed"],
    ...["hands", "hand-prop", "body-parts"],
  ],
  "people": ["person", "person-gesture", "person-role", "person-fantasy"],
  "figures": ["person-activity", "person-sport", "person-resting"],
  "families": ["family", "person-symbol"],
  "mammals": ["animal-mammal"],
  "other-animals": [
    ...["animal-bird", "animal-amphibian", "animal-reptile", "animal-marine", "animal-bug"],
  ],
  "plants": ["plant-flower", "plant-other"],
  "fruit-vegetables": ["food-fruit", "food-vegetable"],
  "dishes-drinks": ["food-prepared", "food-asian", "food-sweet", "drink", "dishware"],
  "places": [
    ...["place-map", "place-geographic", "place-building", "place-religious", "place-other"],
    "hotel",
  ],
  "vehicles": ["transport-ground", "transport-water", "transport-air"],
  "clocks": ["time"],
  "sky": ["sky & weather"],
  "activities": ["event", "award-medal", "sport", "game", "arts & crafts"],
  "clothes": ["clothing"],
  "office": [
    ...["phone", "computer", "light & video", "book-paper", "mail", "writing", "office"],
  ],
  "objects": [
    ...["sound", "music", "musical-instrument", "money", "lock", "tool", "science", "medical"],
    ...["household", "other-object"],
  ],
  "signs": [
    ...["emotion", "transport-sign", "warning", "arrow", "religion", "zodiac", "av-symbol"],
    ...["gender", "math", "punctuation", "currency", "other-symbol", "keycap", "alphanum"],
  ],
  "shapes": ["geometric"],
  "flags": ["flag", "country-flag", "subdivision-flag"],
};

/** Classes of what Unicode calls otherwise than a set does, by the set's category. */
const OF_CATEGORIES: Readonly<Record<string, string>> = {
  "smileys-emotion": "faces",
  "people-body": "people",
  "people": "people",
  "animals-nature": "mammals",
  "nature": "mammals",
  "food-drink": "dishes-drinks",
  "food": "dishes-drinks",
  "travel-places": "places",
  "travel": "places",
  "activities": "activities",
  "objects": "objects",
  "symbols": "signs",
  "flags": "flags",
};

/** Says which class pictures are of. */
export class EmojiClasses {
  readonly #classOf = new Map<string, string>();

  /** @param list Of {@link EMOJI_LIST}. */
  constructor(list: readonly ListedEmoji[]) {
    const classes = new Map(
      Object.entries(SUBGROUPS).flatMap(([name, subgroups]) =>
        subgroups.map((subgroup) => [subgroup, name] as const)
      ),
    );
    for (const { name, subgroup } of list) {
      const className = classes.get(subgroup);
      if (className !== undefined) this.#classOf.set(iconName(name), className);
    }
  }

  /**
   * The class of the first name that Unicode has, or that of the set's category; undefined of parts
   * of pictures, such as patches of skin.
   *
   * @param names What a picture is called, and what without its tone of skin.
   * @param category Such as "animals-nature".
   */
  classOf(names: readonly string[], category: string | undefined): string | undefined {
    const own = category === undefined ? undefined : OF_CATEGORIES[category];
    if (own === undefined) return undefined;
    return names.map((name) => this.#classOf.get(name)).find((name) => name !== undefined) ?? own;
  }
}

/** What a set calls an emoji: "Côte d’Ivoire" is "cote-divoire". */
function iconName(name: string): string {
  return name.toLowerCase().normalize("NFD")
    .replaceAll(/[\u0300-\u036f'’.“”!()]/g, "")
    .replaceAll("&", "and")
    .replaceAll(/[^a-z0-9#*]+/g, "-")
    .replaceAll(/^-|-$/g, "");
}
