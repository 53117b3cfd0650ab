/** Files that are dropped on the page, wherever that is. */

/** Shows `overlay` while files are held over the page, and gives `onDrop` what is dropped. */
export function acceptDrops(overlay: HTMLElement, onDrop: (files: FileList) => void): void {
  const hasFiles = (event: DragEvent): boolean =>
    event.dataTransfer?.types.includes("Files") === true;
  let inside = 0; // enters less leaves: every element that is passed has both
  addEventListener("dragenter", (event) => {
    if (!hasFiles(event)) return;
    inside++;
    overlay.hidden = false;
    event.preventDefault();
  });
  addEventListener("dragleave", (event) => {
    if (!hasFiles(event)) return;
    inside = Math.max(0, inside - 1);
    overlay.hidden = inside === 0;
  });
  addEventListener("dragover", (event) => {
    if (hasFiles(event)) event.preventDefault();
  });
  addEventListener("drop", (event) => {
    inside = 0;
    overlay.hidden = true;
    const files = event.dataTransfer?.files;
    if (!files || files.length === 0) return;
    event.preventDefault();
    onDrop(files);
  });
}
