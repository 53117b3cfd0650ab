/** Small choices of the visitor's that are kept from visit to visit, where the browser allows it. */

/** What is kept under a name; null where there is nothing. */
export function kept(name: string): string | null {
  try {
    return localStorage.getItem(`dit-studio.${name}`);
  } catch { // a browser that keeps nothing
    return null;
  }
}

/** Keeps a text under a name. */
export function keep(name: string, text: string): void {
  try {
    localStorage.setItem(`dit-studio.${name}`, text);
  } catch {
    // it is chosen again next time
  }
}
