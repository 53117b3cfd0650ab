/**
 * What the binary interfaces of MPI libraries differ in: their handles. Open MPI's are addresses of
 * its own variables, those of MPICH and its kin (Intel MPI, MVAPICH, Cray MPICH) are 32-bit numbers,
 * and those of MPI 5's standard interface small numbers of a pointer's size. All of them pass
 * through a register of 64 bits, so that one signature of every function serves all three.
 */
import type { Reduction } from "../world.ts";

/** The binary interfaces. */
export type AbiName = "Open MPI" | "MPICH" | "MPI 5";

/** Types of elements that are sent. */
export type DataType = "float32" | "float64" | "int32" | "byte";

/** The constants of a binary interface. */
export interface Abi {
  readonly name: AbiName;
  readonly commWorld: bigint;
  readonly infoNull: bigint;
  readonly errorsReturn: bigint;
  readonly types: Readonly<Record<DataType, bigint>>;
  readonly ops: Readonly<Record<Reduction, bigint>>;
  /** In place of the buffer to send: what is there is sent. */
  readonly inPlace: bigint;
  /** For `MPI_Comm_split_type`: processes that share memory. */
  readonly commTypeShared: number;
  /** MPI_THREAD_FUNNELED: one thread of several uses MPI. */
  readonly threadFunneled: number;
}

const MPICH: Abi = {
  name: "MPICH",
  commWorld: 0x44000000n,
  infoNull: 0x1c000000n,
  errorsReturn: 0x54000001n,
  types: { float32: 0x4c00040an, float64: 0x4c00080bn, int32: 0x4c000405n, byte: 0x4c00010dn },
  ops: { max: 0x58000001n, min: 0x58000002n, sum: 0x58000003n },
  inPlace: 0xffff_ffff_ffff_ffffn,
  commTypeShared: 1,
  threadFunneled: 1,
};

/** https://github.com/mpi-forum/mpi-abi-stubs, mpi.h */
const MPI_5: Abi = {
  name: "MPI 5",
  commWorld: 0x101n,
  infoNull: 0x130n,
  errorsReturn: 0x142n,
  types: { float32: 0x210n, float64: 0x214n, int32: 0x209n, byte: 0x247n },
  ops: { sum: 0x21n, min: 0x22n, max: 0x23n },
  inPlace: 1n,
  commTypeShared: 221,
  threadFunneled: 1024,
};

/**
 * The binary interface of a library.
 *
 * @param addressOf The address of a symbol of the library; null where it has none such.
 * @param path The library's path: MPICH's own and its standard interface have the same symbols.
 */
export function abiOf(addressOf: (symbol: string) => bigint | null, path: string): Abi {
  if (addressOf("ompi_mpi_comm_world") === null) return /mpi_abi/.test(path) ? MPI_5 : MPICH;
  const handle = (name: string): bigint => {
    const address = addressOf(`ompi_mpi_${name}`);
    if (address === null) throw new Error(`${path} has no ompi_mpi_${name}`);
    return address;
  };
  return {
    name: "Open MPI",
    commWorld: handle("comm_world"),
    infoNull: handle("info_null"),
    errorsReturn: handle("errors_return"),
    types: {
      float32: handle("float"),
      float64: handle("double"),
      int32: handle("int"),
      byte: handle("byte"),
    },
    ops: { sum: handle("op_sum"), min: handle("op_min"), max: handle("op_max") },
    inPlace: 1n,
    commTypeShared: 0,
    threadFunneled: 1,
  };
}
