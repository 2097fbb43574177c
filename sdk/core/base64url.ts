// Base64url (RFC 4648 §5) with exactly one text for any bytes.

import { DaypassError } from './errors.ts';

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
const VALUES = new Int8Array(128).fill(-1);
for (let value = 0; value < ALPHABET.length; value += 1) VALUES[ALPHABET.charCodeAt(value)] = value;

/** The canonical base64url text of `bytes`, without padding. */
export const encodeBase64url = (bytes: Uint8Array): string => {
  let text = '';
  for (let at = 0; at < bytes.length; at += 3) {
    const left = bytes.length - at;
    const group = ((bytes[at] ?? 0) << 16) | ((bytes[at + 1] ?? 0) << 8) | (bytes[at + 2] ?? 0);
    text += ALPHABET.charAt(group >> 18) + ALPHABET.charAt((group >> 12) & 63);
    if (left > 1) text += ALPHABET.charAt((group >> 6) & 63);
    if (left > 2) text += ALPHABET.charAt(group & 63);
  }
  return text;
};

/**
 * The bytes of a canonical base64url text: `encodeBase64url` of them gives back the same text.
 * @throws DaypassError `invalid_argument` for padding, white space, other characters, or unused bits that are not zero
 */
export const decodeBase64url = (text: string): Uint8Array<ArrayBuffer> => {
  const tail = text.length % 4;
  if (tail === 1) throw notBase64url();
  const bytes = new Uint8Array(Math.floor((text.length * 3) / 4));
  let bits = 0;
  let held = 0;
  let length = 0;
  for (let at = 0; at < text.length; at += 1) {
    held = (held << 6) | valueAt(text, at);
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    bytes[length] = held >> bits;
    held &= (1 << bits) - 1;
    length += 1;
  }
  if (held !== 0) throw notBase64url();
  return bytes;
};

const valueAt = (text: string, at: number): number => {
  const value = VALUES[text.charCodeAt(at)] ?? -1;
  if (value < 0) throw notBase64url();
  return value;
};

const notBase64url = (): DaypassError => new DaypassError('invalid_argument', 'not canonical base64url');
