// Finds the token in a request: in Authorization, or where the service's own SDKs put a key. Nothing else is looked at.
import { DaypassError } from '@daypass/core/errors';
import type { ActiveService } from './active-service.ts';
import type { Head } from './wire.ts';

/** The one token of a request; undefined without one. Throws `token_ambiguous` for two that differ. */
export function findToken(head: Head, service: ActiveService | undefined): string | undefined {
  let found = head.authorization === undefined ? undefined : fromAuthorization(head.authorization, service);
  if (service === undefined || service.tokenFields.length === 0) return found;
  const { fields } = head;
  for (let at = 0; at + 1 < fields.length; at += 2) {
    const value = fields[at + 1] ?? '';
    if (value === '' || !service.tokenFields.includes(fields[at] ?? '')) continue;
    if (found !== undefined && found !== value)
      throw new DaypassError('token_ambiguous', 'The request carries two different credentials');
    found = value;
  }
  return found;
}

// RFC 9110 §11.1: a scheme in any case, blanks, and what belongs to it.
function fromAuthorization(value: string, service: ActiveService | undefined): string | undefined {
  const blank = value.indexOf(' ');
  if (blank < 0) return undefined;
  const scheme = value.slice(0, blank).toLowerCase();
  const rest = value.slice(blank).trim();
  if (rest === '') return undefined;
  if (scheme === 'bearer') return rest;
  if (scheme === 'token' && service?.takesToken === true) return rest;
  if (scheme === 'basic' && service?.takesBasic === true) return fromBasic(rest);
  return undefined;
}

// RFC 7617. Some clients put their key before the colon, some behind it, with a fixed word at the other side.
function fromBasic(text: string): string | undefined {
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(text)) return undefined;
  const pair = Buffer.from(text, 'base64').toString('latin1');
  const colon = pair.indexOf(':');
  if (colon < 0) return undefined;
  const user = pair.slice(0, colon);
  const password = pair.slice(colon + 1);
  const tokens = [user, password].filter((half) => half.split('.').length === 3);
  if (tokens.length === 2 && tokens[0] !== tokens[1])
    throw new DaypassError('token_ambiguous', 'The request carries two different credentials');
  return tokens[0] ?? (password === '' ? user || undefined : password);
}
