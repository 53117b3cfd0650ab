/** A finished drawing as it is kept: PNG files, each of which says how it came about. */
import type { Picture, PictureRequest } from "../../protocol.ts";
import type { Parameters } from "../state/parameters.ts";
import type { Job } from "../state/queue.ts";
import { captionOf } from "../state/request.ts";

/** What belongs to one drawing. */
export interface Sheet {
  readonly id: string;
  /** When it was finished: milliseconds since 1970. */
  readonly drawn: number;
  readonly parameters: Parameters;
  /** What the model is called. */
  readonly model: string;
  readonly captions: readonly string[];
  readonly seconds: number;
  readonly device: string;
  /** PNG files with their parameters. */
  readonly files: readonly Blob[];
}

/**
 * What reads and writes texts in PNG files, when it is first needed: it is made with the library, which
 * a browser that cannot run it still has to be told by this page.
 */
const metadata = (): Promise<typeof import("../png/metadata.ts")> => import("../png/metadata.ts");

/** The keyword of the text that holds parameters. */
const KEYWORD = "DiT studio";

/** Version of what the text holds. */
const VERSION = 1;

/** What a PNG file of the studio says of itself. */
export interface PictureRecord {
  readonly version: number;
  /** Of the whole drawing, as the visitor chose them; from a file, so anything. */
  readonly parameters: Readonly<Record<string, unknown>>;
  /** Which of its pictures this is, from 0. */
  readonly picture: number;
}

/** Makes the PNG files of a finished drawing. */
export async function sheetOf(job: Job): Promise<Sheet> {
  const { parameters, model, request, seconds = 0, device = "" } = job;
  const captions = request.pictures.map((picture) => captionOf(picture, model));
  const files = await Promise.all(job.pictures.map(async (picture, index) => {
    const record: PictureRecord & Readonly<Record<string, unknown>> = {
      version: VERSION,
      parameters: { ...parameters },
      picture: index,
      request: request.pictures[index],
      model: model.title,
      className: model.classNames[request.pictures[index]!.label],
      device,
    };
    return await pngOf(picture, {
      [KEYWORD]: JSON.stringify(record),
      Title: captions[index]!,
      Description: descriptionOf(request.pictures[index]!, job),
      Software: KEYWORD,
    });
  }));
  return {
    id: crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`, // not outside secure contexts
    drawn: Date.now(),
    parameters,
    model: model.title,
    captions,
    seconds,
    device,
    files,
  };
}

function descriptionOf(picture: PictureRequest, { model, request }: Job): string {
  const { sampler, steps, guidance } = request;
  const name = model.classNames[picture.label] ?? String(picture.label);
  return `${name}; seed ${picture.seed}; ${sampler}, ${steps} steps, guidance ${guidance}; ${model.title}`;
}

async function pngOf(
  { width, height, rgba }: Picture,
  texts: Readonly<Record<string, string>>,
): Promise<Blob> {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  canvas.getContext("2d")!.putImageData(new ImageData(rgba, width, height), 0, 0);
  const plain = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, "image/png"));
  if (plain === null) throw new Error("the browser could not make a PNG file of a picture");
  const bytes = new Uint8Array(await plain.arrayBuffer());
  const { withTexts } = await metadata();
  return new Blob([withTexts(bytes, texts)], { type: "image/png" });
}

/**
 * What a file says of how it came about.
 *
 * @throws {Error} where it is no PNG file of a studio.
 */
export async function readRecord(png: Uint8Array): Promise<PictureRecord> {
  const { textsOf } = await metadata();
  const text = textsOf(png).get(KEYWORD);
  if (text === undefined) {
    throw new Error("this PNG file holds no parameters: it is not from a studio's gallery");
  }
  let record: unknown;
  try {
    record = JSON.parse(text);
  } catch {
    record = null;
  }
  const { version, parameters, picture } = (record ?? {}) as Partial<PictureRecord>;
  const isRecord = typeof parameters === "object" && parameters !== null &&
    !Array.isArray(parameters) && typeof (parameters["model"] ?? "") === "string";
  if (typeof version !== "number" || !isRecord) {
    throw new Error("this PNG file's parameters are damaged");
  }
  if (version > VERSION) throw new Error("this PNG file is from a newer studio");
  return { version, parameters, picture: Number.isInteger(picture) ? picture! : 0 };
}

/** What a file of a sheet is called when it is downloaded. */
export function fileNameOf({ captions, parameters }: Sheet, index: number): string {
  const words = (captions[index] ?? "picture").normalize("NFD").replaceAll(/[^A-Za-z0-9]+/g, "-");
  return `${words.replaceAll(/^-|-$/g, "") || "picture"}-${parameters.steps}-steps.png`;
}
