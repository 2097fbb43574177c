// The text form of a caller's API key.

import { encodeBase64url } from './base64url.ts';
import { DaypassError } from './errors.ts';

const PREFIX = 'dpk_';
const KEY_BYTES = 32;
// 32 bytes are 43 characters; the last one carries 4 bits, so its two low bits are zero.
const FORM = /^dpk_[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/;

/**
 * The API key made of 32 random bytes.
 * @throws DaypassError `invalid_argument` for any other number of bytes
 */
export const formatApiKey = (random: Uint8Array): string => {
  if (random.length !== KEY_BYTES) throw new DaypassError('invalid_argument', 'an API key is made of 32 bytes');
  return PREFIX + encodeBase64url(random);
};

/** Whether `text` has the form of an API key, in its one canonical spelling. */
export const isApiKey = (text: string): boolean => FORM.test(text);
