// What is kept of a verified token: what it has in common with others is kept once.
import { DaypassError } from '@daypass/core/errors';
import { type CompiledRules, compileRules } from '@daypass/core/rule-match';
import { parseRules } from '@daypass/core/rule-parse';
import type { VerifiedClaims } from '@daypass/core/token';
import { BoundedCache } from './bounded-cache.ts';

/** Claims, and their rules made ready. */
export type KeptToken = {
  readonly claims: VerifiedClaims;
  readonly rules: CompiledRules;
  /** What it takes beside the token's text, in bytes, measured and rounded up. */
  readonly bytes: number;
};

/** Shares what was kept before. */
export type TokenKeeper = {
  /** Throws `token_malformed` for a rule that cannot be read here. */
  keep(claims: VerifiedClaims): KeptToken;
  /** The text, as it was kept the first time. */
  share(text: string): string;
};

/** Lists of rules, and texts, that are remembered to be shared. */
const LISTS = { entries: 16_384, chars: 16 * 1024 * 1024 };
const TEXTS = { entries: 65_536, chars: 4 * 1024 * 1024 };

/** Bytes: of any token; of one rule made ready; of a credential opened, with all that it is looked for as. */
const TOKEN_BYTES = 768;
const RULE_BYTES = 1024;
const SEAL_BYTES = 8 * 1024;
/** Rules of a list that was kept before are free up to so many: whoever kept it first may be gone. */
const FREE_RULES = 8;

/** Returns a keeper that has kept nothing. It is given verified tokens only: nobody else fills its memory. */
export function createTokenKeeper(): TokenKeeper {
  const lists = new BoundedCache<Rules>(LISTS);
  const texts = new BoundedCache<string>(TEXTS);
  const share = (text: string): string => {
    const known = texts.get(text);
    if (known !== undefined) return known;
    // A copy: what is cut from a payload keeps all of it.
    const own = copyOf(text);
    texts.set(own, own);
    return own;
  };
  const rulesOf = (allowed: readonly string[]): Rules & { readonly counted: number } => {
    const key = JSON.stringify(allowed);
    const known = lists.get(key);
    if (known !== undefined) return { ...known, counted: Math.max(0, allowed.length - FREE_RULES) };
    const own = allowed.map(copyOf);
    const rules = { texts: own, compiled: compileAllowed(own) };
    lists.set(key, rules, own.length * RULE_BYTES);
    return { ...rules, counted: own.length };
  };
  const keep = (claims: VerifiedClaims): KeptToken => {
    const { texts: allowed, compiled: rules, counted } = rulesOf(claims.allowed);
    const { idx, uri } = claims.status.status_list;
    const kept = {
      ...claims,
      iss: share(claims.iss),
      aud: share(claims.aud),
      sub: share(claims.sub),
      client_id: share(claims.client_id),
      caller: share(claims.caller),
      jti: copyOf(claims.jti),
      service: share(claims.service),
      allowed,
      status: { status_list: { idx, uri: share(uri) } },
    };
    const bytes = TOKEN_BYTES + counted * RULE_BYTES + (claims.credential === undefined ? 0 : SEAL_BYTES);
    return { claims: kept, rules, bytes };
  };
  return { keep, share };
}

type Rules = { readonly texts: readonly string[]; readonly compiled: CompiledRules };

// Half a surrogate pair has no UTF-8.
function copyOf(text: string): string {
  const copy = Buffer.from(text).toString();
  return copy === text ? copy : text;
}

// A rule of a form that this version does not know denies: the whole token, since what it meant cannot be told.
function compileAllowed(allowed: readonly string[]): CompiledRules {
  try {
    return compileRules(parseRules(allowed));
  } catch (cause) {
    throw new DaypassError('token_malformed', 'The token holds a rule that cannot be read here', { cause });
  }
}
