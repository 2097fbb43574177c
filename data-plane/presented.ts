// Finds the token in a request: in Authorization, or where the service's own SDKs put a key. Nothing else is looked at.
import { DaypassError } from '@daypass/core/errors';
import type { ActiveService } from './active-service.ts';
import type { Presented } from './fields-read.ts';
import type { Head } from './wire.ts';

/** The one token of a request; undefined without one. Throws `token_ambiguous` for two that differ. */
export function findToken(head: Head, service: ActiveService | undefined): Presented | undefined {
  const { memo } = head;
  if (memo.presented === undefined || memo.presented.service !== service)
    memo.presented = { service, token: readToken(head, service) };
  return memo.presented.token;
}

function readToken(head: Head, service: ActiveService | undefined): Presented | undefined {
  const { authorization, fields } = head;
  let found = authorization === undefined ? undefined : fromAuthorization(authorization, service);
  if (service === undefined || service.tokenFields.length === 0) return found;
  for (let at = 0; at + 1 < fields.length; at += 2) {
    const value = fields[at + 1] ?? '';
    if (value === '' || !service.tokenFields.includes(fields[at] ?? '')) continue;
    if (found !== undefined && found.text !== value)
      throw new DaypassError('token_ambiguous', 'The request carries two different credentials');
    found ??= { text: value, isDpop: false };
  }
  return found;
}

// RFC 6750 §2.1: a scheme in any case, one blank, and the token, which begins and ends with none.
function fromAuthorization(value: string, service: ActiveService | undefined): Presented | undefined {
  const blank = value.indexOf(' ');
  if (blank < 0) return undefined;
  const scheme = value.slice(0, blank).toLowerCase();
  const rest = value.slice(blank + 1);
  // From the start alone: a token is long.
  if (rest.trimStart() === '') return undefined;
  if (scheme === 'bearer' || scheme === 'dpop') return { text: rest, isDpop: scheme === 'dpop' };
  if (scheme === 'token' && service?.takesToken === true) return { text: rest, isDpop: false };
  const text = scheme === 'basic' && service?.takesBasic === true ? fromBasic(rest) : undefined;
  return text === undefined ? undefined : { text, isDpop: false };
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
