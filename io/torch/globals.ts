/**
 * The only names a checkpoint may refer to, each with what it stands for as plain data. Nothing is
 * looked up or called: a name outside this table ends the reading.
 */
import type { HostDType } from "../host_tensor.ts";

/** Element types by the class of the storage that holds them. */
export const STORAGE_DTYPES: Readonly<Record<string, HostDType>> = {
  "torch.DoubleStorage": "f64",
  "torch.FloatStorage": "f32",
  "torch.HalfStorage": "f16",
  "torch.BFloat16Storage": "bf16",
  "torch.LongStorage": "i64",
  "torch.IntStorage": "i32",
  "torch.ShortStorage": "i16",
  "torch.CharStorage": "i8",
  "torch.ByteStorage": "u8",
  "torch.BoolStorage": "bool",
};

/** Names that a pickle may construct something with. */
export const CONSTRUCTORS = [
  "collections.OrderedDict",
  "torch._utils._rebuild_tensor_v2",
  "torch._utils._rebuild_parameter",
  "argparse.Namespace",
  "_codecs.encode",
] as const;

/** One of {@linkcode CONSTRUCTORS}. */
export type Constructor = typeof CONSTRUCTORS[number];

/** Whether a checkpoint may refer to `name`. */
export function isAllowed(name: string): boolean {
  return Object.hasOwn(STORAGE_DTYPES, name) || CONSTRUCTORS.includes(name as Constructor);
}
