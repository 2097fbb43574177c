// One bit a token, in the order of the IETF Token Status List §4.1: the least significant bit of a byte first.

/** Sets the bit of an index; throws `RangeError` outside the list. */
export function setBit(bits: Uint8Array, index: number): void {
  const byte = bits[Math.floor(index / 8)];
  if (byte === undefined || !Number.isInteger(index) || index < 0)
    throw new RangeError('index outside the status list');
  bits[Math.floor(index / 8)] = byte | (1 << (index & 7));
}

/** Whether the bit of an index is set; undefined outside the list, which a caller must take for revoked. */
export function getBit(bits: Uint8Array, index: number): boolean | undefined {
  if (!Number.isInteger(index) || index < 0) return undefined;
  const byte = bits[Math.floor(index / 8)];
  return byte === undefined ? undefined : ((byte >>> (index & 7)) & 1) === 1;
}
