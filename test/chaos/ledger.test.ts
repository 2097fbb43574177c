// The rules of the chaos test themselves: each promise that is broken is seen, and none that is kept.
import { expect, test } from 'vitest';
import { type Answer, createKnownVersions, judge, type Receipt, type ServiceFacts } from './ledger.ts';
import { createRandom } from './random.ts';

const receipt = (version: number, missing: Readonly<Record<string, number>> = {}): Receipt => ({
  version,
  acknowledged: ['node-1'],
  missing: new Map(Object.entries(missing)),
});

const service: ServiceFacts = {
  name: 'orders',
  created: receipt(3),
  asked: 6,
  acknowledged: [
    { generation: 1, version: 3 },
    { generation: 5, version: 10 },
  ],
  isDeleteAsked: false,
};

const token = { jti: 'j', client: 'c', text: 't', service, isRevokeAsked: false };
const deleting = { ...token, service: { ...service, isDeleteAsked: true } };
const deleted = { ...token, service: { ...service, isDeleteAsked: true, deleted: receipt(20) } };

const revoking = { ...token, isRevokeAsked: true };
const revoked = { ...revoking, revoked: receipt(20, { 'node-2': 1000 }) };
const forwarded = { node: 'node-1', token, sentAt: 500, knownVersion: 9, status: 200, version: 10, generation: 5 };
const refused = { node: 'node-1', token, sentAt: 500, knownVersion: 9, status: 401 };

const cases: readonly (readonly [string, Answer, string])[] = [
  ['the newest configuration that was acknowledged', forwarded, 'right'],
  ['a newer one that was asked for', { ...forwarded, generation: 6 }, 'right'],
  ['one that nobody asked for', { ...forwarded, generation: 7 }, 'wrong'],
  ['an older one than was acknowledged by the version that decided', { ...forwarded, generation: 4 }, 'wrong'],
  ['an older one from an older version', { ...forwarded, version: 9, generation: 1 }, 'right'],
  ['a version below one that the node had', { ...forwarded, version: 8, generation: 1 }, 'wrong'],
  ['an answer without a version', { ...forwarded, version: undefined }, 'wrong'],
  ['a failure of the upstream that never failed', { ...forwarded, status: 502 }, 'wrong'],
  ['a token whose revocation is under way', { ...forwarded, token: revoking }, 'right'],
  ['a revoked token at a version before it', { ...forwarded, token: revoked, version: 19 }, 'right'],
  ['a revoked token at its version', { ...forwarded, token: revoked, version: 20 }, 'wrong'],
  ['a revoked token after the lease', { ...forwarded, node: 'node-2', token: revoked, sentAt: 1001 }, 'wrong'],
  ['a revoked token within the lease', { ...forwarded, node: 'node-2', token: revoked, sentAt: 999 }, 'right'],
  ['a refusal of a revoked token', { ...refused, token: revoked, code: 'token_revoked' }, 'right'],
  ['a refusal of a token that is being revoked', { ...refused, token: revoking, code: 'token_revoked' }, 'right'],
  ['a refusal as revoked of another', { ...refused, code: 'token_revoked' }, 'wrong'],
  ['a refusal of a good token', { ...refused, code: 'scope_refused' }, 'wrong'],
  ['no service yet', { ...refused, knownVersion: 2, code: 'service_unknown' }, 'right'],
  ['no service where the node has acknowledged it', { ...refused, knownVersion: 3, code: 'service_unknown' }, 'wrong'],
  ['no service where it is being deleted', { ...refused, token: deleting, code: 'service_unknown' }, 'right'],
  ['a deleted service before its end', { ...forwarded, token: deleted, version: 19 }, 'right'],
  ['a deleted service', { ...forwarded, token: deleted, version: 20 }, 'wrong'],
  ['a node that stops', { ...refused, code: 'draining' }, 'unable'],
  ['a node whose lease has ended', { ...refused, code: 'snapshot_expired' }, 'unable'],
];

test.each(cases)('%s', (_name, answer, kind) => {
  expect(judge(answer).kind).toBe(kind);
});

test('what a node acknowledged or showed is its version from then on, and never less', () => {
  const known = createKnownVersions();
  known.take(receipt(7));
  known.raise('node-1', 5);
  expect([known.of('node-1'), known.of('node-2')]).toEqual([7, 0]);
});

test('a seed repeats its chances, and another has others', () => {
  const draw = (seed: number) => Array.from({ length: 20 }, createRandom(seed).next);
  expect(draw(1)).toEqual(draw(1));
  expect(draw(1)).not.toEqual(draw(2));
  expect(draw(1).every((one) => one >= 0 && one < 1)).toBe(true);
});
