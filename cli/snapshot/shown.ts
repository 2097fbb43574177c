// Entries as they are shown: a sealed credential as its id and the key that it is sealed to, never the seal.
import { inflateSync } from 'node:zlib';
import { decodeBase64url } from '@daypass/core/base64url';
import { parseStrictJsonBytes, readObject } from '@daypass/core/json';
import { readSealKid } from '@daypass/core/seal';
import { STATUS_CHUNK_BITS } from '@daypass/core/service';
import type { Entry } from '@daypass/core/snapshot';

/** The members of an entry, as they may be shown. Values of headers that are set may be secrets, too. */
export type Shown = Readonly<Record<string, unknown>>;

/** What may be shown of an entry. What cannot be read is said to be so. */
export const shown = ({ kind, content }: Pick<Entry, 'kind' | 'content'>): Shown => {
  const members = membersOf(content);
  if (members === undefined) return { unreadable: `${content.length} bytes` };
  switch (kind) {
    case 'credential':
      return { id: members.id, kid: kidOf(members.sealed) };
    case 'status':
      return { revoked: revokedIn(members.lst) };
    case 'service': {
      const { set_headers: set, ...rest } = members;
      return { ...rest, set_headers: typeof set === 'object' && set !== null ? Object.keys(set) : [] };
    }
    default:
      return members;
  }
};

/** The members of an entry as they are; undefined for one that is not JSON. */
export const membersOf = (content: Uint8Array): Shown | undefined => {
  try {
    return readObject(parseStrictJsonBytes(content), 'entry');
  } catch {
    return undefined;
  }
};

/** One value on one line. */
export const valueText = (value: unknown): string =>
  typeof value === 'string' ? value : (JSON.stringify(value) ?? '');

const kidOf = (sealed: unknown): string => {
  try {
    return readSealKid(typeof sealed === 'string' ? sealed : '');
  } catch {
    return 'unreadable';
  }
};

const revokedIn = (list: unknown): number | string => {
  try {
    const bits = inflateSync(decodeBase64url(String(list)), { maxOutputLength: STATUS_CHUNK_BITS / 8 });
    return bits.reduce((sum, byte) => sum + ONES(byte), 0);
  } catch {
    return 'unreadable';
  }
};

const ONES = (byte: number): number => byte.toString(2).replaceAll('0', '').length;
