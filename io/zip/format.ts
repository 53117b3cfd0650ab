/** Signatures and limits of the zip format (PKWARE APPNOTE 6.3), for its reader and writer. */

export const LOCAL_HEADER = 0x04034b50;
export const CENTRAL_HEADER = 0x02014b50;
export const END_OF_DIRECTORY = 0x06054b50;
export const END_OF_DIRECTORY_64 = 0x06064b50;
export const END_LOCATOR_64 = 0x07064b50;

export const LOCAL_HEADER_BYTES = 30;
export const CENTRAL_HEADER_BYTES = 46;
export const END_OF_DIRECTORY_BYTES = 22;
export const END_OF_DIRECTORY_64_BYTES = 56;
export const END_LOCATOR_64_BYTES = 20;

/** Id of the extra field with 64-bit sizes and offset. */
export const ZIP64_EXTRA = 0x0001;

/** Stands in a 32-bit field whose value is in the zip64 extra field. */
export const IN_ZIP64_32 = 0xffffffff;
/** Stands in a 16-bit field whose value is in the zip64 end of directory. */
export const IN_ZIP64_16 = 0xffff;

export const FLAG_ENCRYPTED = 1 << 0;
/** Sizes and checksum follow the data, and the local header may leave them 0. */
export const FLAG_DESCRIPTOR = 1 << 3;
export const FLAG_UTF8 = 1 << 11;

export const METHOD_STORED = 0;
export const METHOD_DEFLATED = 8;
