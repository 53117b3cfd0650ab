/** Where finished drawings are kept: the browser's own database, or the page's memory without one. */
import type { Sheet } from "./sheet.ts";

const DATABASE = "dit-studio";
const STORE = "sheets";

/** The gallery's sheets, newest first. */
export class GalleryStore {
  /** Null where the browser has no database for this page. */
  readonly #database: IDBDatabase | null;
  #sheets: Sheet[];

  private constructor(database: IDBDatabase | null, sheets: Sheet[]) {
    [this.#database, this.#sheets] = [database, sheets];
  }

  /** Opens it; what cannot be read is as if there were nothing. */
  static async open(): Promise<GalleryStore> {
    try {
      const opening = indexedDB.open(DATABASE, 1);
      opening.onupgradeneeded = () => opening.result.createObjectStore(STORE, { keyPath: "id" });
      const database = await finished(opening);
      const all: Sheet[] = await finished(
        database.transaction(STORE).objectStore(STORE).getAll(),
      );
      return new GalleryStore(database, all.sort((a, b) => b.drawn - a.drawn));
    } catch {
      return new GalleryStore(null, []);
    }
  }

  /** Whether it is still there when the page is loaded again. */
  get isKept(): boolean {
    return this.#database !== null;
  }

  /** Newest first. */
  get sheets(): readonly Sheet[] {
    return this.#sheets;
  }

  /**
   * Adds a sheet.
   *
   * @throws {Error} where the browser has no room for it; it is in memory then.
   */
  async add(sheet: Sheet): Promise<void> {
    this.#sheets = [sheet, ...this.#sheets];
    await this.#change((store) => store.put(sheet));
  }

  /** Removes a sheet. */
  async remove(id: string): Promise<void> {
    this.#sheets = this.#sheets.filter((sheet) => sheet.id !== id);
    await this.#change((store) => store.delete(id));
  }

  /** Removes all; what other tabs have added since it was opened, which nobody has seen here, stays. */
  async clear(): Promise<void> {
    const ids = this.#sheets.map(({ id }) => id);
    this.#sheets = [];
    await this.#change((store) => ids.forEach((id) => store.delete(id)));
  }

  async #change(change: (store: IDBObjectStore) => void): Promise<void> {
    if (this.#database === null) return;
    const transaction = this.#database.transaction(STORE, "readwrite");
    change(transaction.objectStore(STORE));
    await new Promise<void>((resolve, reject) => {
      transaction.oncomplete = () => resolve();
      transaction.onabort = () => reject(transaction.error ?? new Error("it was ended"));
    });
  }
}

function finished<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
    if (request instanceof IDBOpenDBRequest) request.onblocked = () => reject(new Error("blocked"));
  });
}
