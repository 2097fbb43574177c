// The hash function as core sees it: passed in, because core does no work that a platform does better.

/** SHA-256 of bytes, synchronous: 32 bytes. */
export type Sha256 = (bytes: Uint8Array) => Uint8Array;

/** Lower-case hexadecimal. */
export function toHex(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += HEX[byte];
  return text;
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

/** Whether a text is a SHA-256 in lower-case hexadecimal. */
export const isHexSha256 = (text: string): boolean => /^[0-9a-f]{64}$/.test(text);
