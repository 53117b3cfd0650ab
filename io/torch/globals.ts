/**
 * What the names in a checkpoint stand for. Nothing is looked up, imported or called: a few names
 * are built as plain data, those that only attacks need end the reading, and every other one is a
 * placeholder.
 */
import type { HostDType } from "../../tensor/mod.ts";

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

/** Bytes of an element of the storages that have no element type here. */
export const FOREIGN_STORAGE_BYTES: Readonly<Record<string, number>> = {
  "torch.ComplexFloatStorage": 8,
  "torch.ComplexDoubleStorage": 16,
  "torch.QInt8Storage": 1,
  "torch.QUInt8Storage": 1,
  "torch.QInt32Storage": 4,
};

/** Names that plain data are built for. */
export const CONSTRUCTORS = [
  "collections.OrderedDict",
  "collections.defaultdict",
  "torch._utils._rebuild_tensor_v2",
  "torch._utils._rebuild_parameter",
  "torch._utils._rebuild_parameter_with_state",
  "torch._tensor._rebuild_from_type_v2",
  "torch.Size",
  "argparse.Namespace",
  "_codecs.encode",
  "builtins.getattr",
] as const;

/** One of {@linkcode CONSTRUCTORS}. */
export type Constructor = typeof CONSTRUCTORS[number];

/** Whether plain data are built for `name`. */
export function isConstructor(name: string): name is Constructor {
  return CONSTRUCTORS.includes(name as Constructor);
}

/** Functions that make an instance of the class they are given first, whose name says more. */
const MAKERS: ReadonlySet<string> = new Set([
  "copyreg._reconstructor",
  "copyreg.__newobj__",
  "copyreg.__newobj_ex__",
  "numpy.core.multiarray._reconstruct",
  "numpy._core.multiarray._reconstruct",
]);

/** Whether what `name` makes is an instance of its first argument. */
export function isMaker(name: string): boolean {
  return MAKERS.has(name);
}

/** `module.name` under the module names of Python 3. */
export function fullName(module: string, name: string): string {
  return `${PYTHON_2[module] ?? module}.${name}`;
}

const PYTHON_2: Readonly<Record<string, string>> = {
  __builtin__: "builtins",
  copy_reg: "copyreg",
};

function words(text: string): ReadonlySet<string> {
  return new Set(text.trim().split(/\s+/));
}

/** Modules that run programs, load code, or reach files and other machines. */
const HARMFUL_MODULES = words(`
  os posix nt posixpath ntpath sys subprocess _posixsubprocess commands popen2 pty shutil tempfile
  multiprocessing asyncio importlib imp runpy pkgutil zipimport site code codeop gc ctypes _ctypes cffi
  pickle _pickle cPickle marshal shelve dill cloudpickle joblib pip setuptools distutils ensurepip venv
  pdb bdb timeit trace profile cProfile doctest idlelib lib2to3 fileinput sqlite3 webbrowser
  pydoc _pyrepl _osx_support _aix_support _thread
  socket _socket ssl http urllib urllib2 httplib requests aiohttp ftplib smtplib telnetlib xmlrpc
`);

/** Functions of those kinds in modules whose other names are data, and parts of packages. */
const HARMFUL_NAMES = words(`
  builtins.eval builtins.exec builtins.execfile builtins.compile builtins.open builtins.file
  builtins.input builtins.raw_input builtins.__import__ builtins.setattr
  builtins.delattr builtins.globals builtins.locals builtins.vars builtins.apply builtins.breakpoint
  io.open io.FileIO _io.open _io.FileIO codecs.open types.FunctionType types.CodeType
  operator.attrgetter operator.methodcaller _operator.attrgetter _operator.methodcaller
  torch.load torch.toString torch.hub torch.jit torch.package torch.ops torch.classes torch.fx
  torch.serialization.load torch.utils.cpp_extension torch.utils.collect_env torch._inductor
  torch._dynamo torch.distributed.rpc numpy.load numpy.f2py numpy.distutils numpy.testing
`);

/** Modules that are harmful by whichever other module they are reached. */
const HARMFUL_ANYWHERE = words("os posix nt sys subprocess importlib ctypes");

/**
 * Whether `name` is one that could run code in Python and that no checkpoint needs. This list is not
 * what keeps reading safe, since no name is ever called: it shows that a file was made to do harm.
 */
export function isHarmful(name: string): boolean {
  const parts = name.split(".");
  return HARMFUL_MODULES.has(parts[0]!) ||
    parts.some((part) => HARMFUL_ANYWHERE.has(part)) ||
    parts.some((_, i) => HARMFUL_NAMES.has(parts.slice(0, i + 1).join(".")));
}
