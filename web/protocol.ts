/**
 * What the studio's page asks of whatever computes for it: a worker in the visitor's own browser, or
 * the device of the machine that serves the page. Both sides speak in these terms. `addresses.ts`
 * says what of it is where on a server.
 */

/** A sampler that a model can be sampled with. */
export interface SamplerInfo {
  readonly name: string;
  /** In a few words. */
  readonly help: string;
  /** Fewest and most steps, and how many where none are chosen. */
  readonly least: number;
  readonly most: number;
  readonly usual: number;
  /** Whether `eta` sets how random it is. */
  readonly hasEta: boolean;
}

/** A model that can be sampled from. */
export interface ModelInfo {
  /** What requests and addresses call it; as {@linkcode isId} has it, never a path. */
  readonly id: string;
  /** For people: `DiT-Mini/4, run 003, step 4,000`. */
  readonly title: string;
  /** Another one once other weights have the id; there is none where that cannot be. */
  readonly version?: string;
  /** What each class is called, by its index. */
  readonly classNames: readonly string[];
  /** Pixels a side of a picture, and their channels: 1 or 3. */
  readonly imageSize: number;
  readonly channels: number;
  readonly parameters: number;
  /** Bytes of its weights, which a browser has to load; those of an autoencoder are in it. */
  readonly bytes: number;
  /** Whether it makes latents, which an autoencoder turns into pictures. */
  readonly isLatent: boolean;
  /** `gaussian` or `flow`. */
  readonly process: string;
  /** Whether it was trained with a null class, so that guidance does anything. */
  readonly canGuide: boolean;
  /**
   * First and last time that an interval of guidance can have, and its grain: 1 for timesteps, which
   * are whole numbers; that of a slider for times of a flow, which may be any number between.
   */
  readonly times: { readonly least: number; readonly most: number; readonly grain: number };
  readonly samplers: readonly SamplerInfo[];
  /** What the page starts with. */
  readonly usual: {
    readonly sampler: string;
    readonly steps: number;
    readonly guidance: number;
    readonly interval: readonly [number, number] | null;
  };
}

/** One picture that is asked for. */
export interface PictureRequest {
  /** Index of its class. */
  readonly label: number;
  /** Whole number from 0 to 2^32 - 1; its noise depends on this alone. */
  readonly seed: number;
  /** Noise on the way to that of another seed: 0 is its own, 1 the other's (spherical). */
  readonly towardsSeed?: { readonly seed: number; readonly amount: number };
  /** A class on the way to another one: 0 is its own, 1 the other (linear, in the embedding). */
  readonly towardsLabel?: { readonly label: number; readonly amount: number };
}

/** Most of {@linkcode SampleRequest.guidance}. */
export const MOST_GUIDANCE = 100;

/** Pictures that are sampled together. */
export interface SampleRequest {
  /** {@linkcode ModelInfo.id}. */
  readonly model: string;
  /** 1 to {@linkcode MOST_PICTURES}. */
  readonly pictures: readonly PictureRequest[];
  readonly sampler: string;
  readonly steps: number;
  /** Randomness of samplers that have it, 0 to 1. */
  readonly eta: number;
  /** Classifier-free guidance, 0 to {@linkcode MOST_GUIDANCE}; 1 for none. */
  readonly guidance: number;
  /** First and last time that is guided, null for all. */
  readonly interval: readonly [number, number] | null;
}

/** Most pictures of one request. */
export const MOST_PICTURES = 64;

/** A picture, row by row, four bytes a pixel: red, green, blue, and 255. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  readonly rgba: Uint8ClampedArray<ArrayBuffer>;
}

/**
 * What happens to a request, in this order; each kind may come any number of times but the last.
 * Steps are told so often as there is something new to see, not each.
 */
export type SampleEvent =
  /** Others are first. */
  | { readonly kind: "queued"; readonly ahead: number }
  /** Weights are loaded, in bytes. */
  | { readonly kind: "loading"; readonly done: number; readonly total: number }
  /** `step` of `steps` were taken; `pictures` is what the model now takes each picture to become. */
  | {
    readonly kind: "step";
    readonly step: number;
    readonly steps: number;
    readonly pictures?: readonly Picture[];
  }
  /** Finished, after so many seconds on a device such as `webgpu (Apple M2)`. */
  | {
    readonly kind: "done";
    readonly pictures: readonly Picture[];
    readonly seconds: number;
    readonly device: string;
  };

/** Whatever samples. */
export interface Engine {
  /** Where it computes. */
  readonly place: "browser" | "server";
  models(): Promise<readonly ModelInfo[]>;
  /** Told that a model is likely to be asked for soon: it may get ready, and fails without a word. */
  prepare?(model: ModelInfo): void;
  /**
   * Samples; resolves after the `done` event.
   *
   * @throws {Error} with a message for people; an `AbortError` once `signal` has ended it.
   */
  sample(
    request: SampleRequest,
    onEvent: (event: SampleEvent) => void,
    signal: AbortSignal,
  ): Promise<void>;
}
