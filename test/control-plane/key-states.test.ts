// What rows of keys say: who verifies, who signs, who waits, whose last token has ended.
import { expect, test } from 'vitest';
import {
  activationTime,
  endedKeys,
  livingKeys,
  signingKeys,
  waitingKeys,
  withToken,
} from '../../control-plane/domain/key-states.ts';
import type { KeyRow } from '../../control-plane/store/interface.ts';

const NOW = 1_790_000_000_000;
const row = (kid: string, changes: Partial<KeyRow> = {}): KeyRow => ({
  kid,
  use: 'token',
  jwk: {},
  alg: 'Ed25519',
  issuer: 'https://daypass.example',
  createdAt: NOW,
  activatedAt: NOW,
  retiredAt: undefined,
  lastExpiresAt: 0,
  ...changes,
});
const kids = (rows: readonly KeyRow[]): readonly string[] => rows.map(({ kid }) => kid);

const rows = [
  row('retired', { retiredAt: NOW }),
  row('old'),
  row('new', { activatedAt: NOW + 1 }),
  row('waiting', { activatedAt: undefined }),
  row('sealing', { use: 'seal', retiredAt: NOW }),
];

test('retired keys and keys for seals verify nothing, keys that wait sign nothing, the newest signs first', () => {
  expect(kids(livingKeys(rows))).toEqual(['old', 'new', 'waiting']);
  expect(kids(signingKeys(rows))).toEqual(['new', 'old']);
  expect(kids(waitingKeys(rows))).toEqual(['waiting']);
});

test.each([
  ['its last token is alive', NOW + 1, NOW, []],
  ['clocks may differ', NOW, NOW + 60_000, []],
  ['its last token has ended', NOW, NOW + 60_001, ['old']],
  ['it signed none', 0, NOW, ['old']],
])('a key that another took the place of: %s', (_what, lastExpiresAt, now, ended) => {
  expect(kids(endedKeys([row('old', { lastExpiresAt }), row('new', { activatedAt: NOW + 1 })], now))).toEqual(ended);
});

test('the key that signs never ends by itself, nor one that waits', () => {
  expect(endedKeys([row('only'), row('waiting', { activatedAt: undefined })], NOW * 2)).toEqual([]);
});

test('a key that is activated later signs before the others, whatever the clock says', () => {
  expect(activationTime([], NOW)).toBe(NOW);
  expect(activationTime([row('a', { activatedAt: NOW + 5 })], NOW)).toBe(NOW + 6);
});

test('no token of a key ends after what its row says, which seldom changes', () => {
  const first = withToken(row('a'), NOW + 1);
  expect(first.lastExpiresAt).toBeGreaterThanOrEqual(NOW + 1);
  expect(first.lastExpiresAt).toBeLessThanOrEqual(NOW + 1 + 3_600_000);
  expect(withToken(first, first.lastExpiresAt)).toBe(first);
  expect(withToken(first, first.lastExpiresAt + 1).lastExpiresAt).toBe(first.lastExpiresAt + 3_600_000);
});
