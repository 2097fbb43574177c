// What the rows of token keys say: which of them verify, which one signs, and what a snapshot holds of them.
import type { KeyEntry } from '@daypass/core/service';
import type { KeyRow } from '../store/interface.ts';

/** Token keys that are not retired: all of them verify. */
export const livingKeys = (rows: readonly KeyRow[]): readonly KeyRow[] =>
  rows.filter(({ use, retiredAt }) => use === 'token' && retiredAt === undefined);

/** Those that may sign, the one to sign with first. */
export const signingKeys = (rows: readonly KeyRow[]): readonly KeyRow[] =>
  livingKeys(rows)
    .filter(({ activatedAt }) => activatedAt !== undefined)
    .sort((a, b) => (b.activatedAt ?? 0) - (a.activatedAt ?? 0) || b.createdAt - a.createdAt);

/** When a key that is activated now began to sign: later than every other, whatever the clock says. */
export const activationTime = (rows: readonly KeyRow[], now: number): number =>
  Math.max(now, ...rows.map(({ activatedAt }) => (activatedAt ?? 0) + 1));

/** Those that wait until all nodes know them, the oldest first. */
export const waitingKeys = (rows: readonly KeyRow[]): readonly KeyRow[] =>
  livingKeys(rows).filter(({ activatedAt }) => activatedAt === undefined);

/** Those that do not sign any more and whose last token has ended. */
export const endedKeys = (rows: readonly KeyRow[], now: number): readonly KeyRow[] =>
  signingKeys(rows)
    .slice(1)
    .filter(({ lastExpiresAt }) => lastExpiresAt + SKEW_MS < now);

/** Nodes forgive 5 s; clocks differ, and a token of the last moment travels. */
const SKEW_MS = 60_000;

/** A key as a snapshot holds it. */
export const keyEntry = ({ kid, alg, issuer, jwk }: KeyRow): KeyEntry => ({
  kid,
  alg: alg === 'ES256' ? 'ES256' : 'Ed25519',
  issuer,
  jwk,
});

/** What a row says once a token of that key was made that ends at this time: seldom another, for it counts in hours. */
export const withToken = (row: KeyRow, expiresAt: number): KeyRow =>
  expiresAt <= row.lastExpiresAt ? row : { ...row, lastExpiresAt: Math.ceil(expiresAt / HOUR_MS) * HOUR_MS };

const HOUR_MS = 3_600_000;
