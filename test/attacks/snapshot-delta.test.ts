// Attacks on deltas from a hostile control plane, played against a whole node: the cases of snapshots, and those of what a delta adds.
import { create } from '@bufbuild/protobuf';
import { type Entry, encodeEntry } from '@daypass/core/snapshot';
import {
  type ReportRequest,
  type Snapshot,
  type SnapshotDelta,
  SnapshotEntrySchema,
} from '@daypass/sdk/gen/daypass/v1/snapshot_pb';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { serviceConfig } from '../data-plane/service-config.ts';
import { until } from '../kit/deadline.ts';
import { type FakeControl, heartbeat, startFakeControl } from '../kit/fake-control.ts';
import { json, startUpstream, type Upstream } from '../kit/upstream.ts';
import {
  bringing,
  bringingDelta,
  type Change,
  digestOf,
  entriesOf,
  mint,
  type Node,
  nodeKey,
  signDelta,
  signSnapshot,
  startNode,
  stranger,
  tokenKey,
} from './snapshot-world.ts';

const NOW = Math.floor(Date.now() / 1000);
const NAMES = ['api', 'b', 'c'];

let control: FakeControl;
let upstream: Upstream;
let node: Node;
let token: string;
/** What the node serves, as a whole. */
let active: Snapshot;
let version = 9;

beforeAll(async () => {
  upstream = await startUpstream((_seen, response) => json(response, 200, {}));
  token = await mint();
  control = await startFakeControl();
  node = await startNode(control.url);
  await until('the node watches', () => control.streams() === 1);
  await activate();
});

afterAll(async () => {
  await node?.[Symbol.asyncDispose]();
  await control?.close();
  await upstream?.close();
});

const word = (): ReportRequest | undefined => control.heard.at(-1)?.report;
const scope = (name: string, rule: string): Entry => encodeEntry('scope', name, { rules: [rule] });
const cutoff = (client: string): Entry => encodeEntry('cutoff', client, { client, minted_before: NOW });
const service = (name: string, more: object = {}): Entry =>
  encodeEntry('service', name, serviceConfig({ name, origin: upstream.origin, place: null, ...more }));

/** What the node has at the beginning, in order. */
const first = (): readonly Entry[] => {
  const [key, ...services] = entriesOf(upstream.origin, NAMES) as [Entry, ...Entry[]];
  return [cutoff('lost'), key, scope('b/reads', 'GET /a'), ...services];
};

/** What an honest control plane would publish next: a cut-off more, a scope that is another, a service that is gone. */
const second = (): readonly Entry[] => {
  const [lost, key, , api, b] = first() as [Entry, Entry, Entry, Entry, Entry];
  return [lost, cutoff('more'), key, scope('b/reads', 'GET /b'), api, b];
};

/** Makes a whole snapshot of the first entries the active one. */
async function activate(): Promise<void> {
  version += 1;
  const manifest = active === undefined ? {} : { previous: digestOf(active) };
  active = await signSnapshot(version, { entries: first(), manifest });
  control.onWatch((stream, { digest }) =>
    stream.write(digest === digestOf(active) ? heartbeat(version) : bringing(active)),
  );
  control.send(bringing(active));
  await until(`version ${version} is active`, () => word()?.digest === digestOf(active));
}

/** Sends bytes; how the node refuses them. It goes on with what it has. */
async function refusalOf(bytes: Uint8Array): Promise<ReportRequest> {
  await until('a stream is open', () => control.streams() === 1);
  const before = control.heard.length;
  control.send(bytes);
  await until('it is refused', () => control.heard.length > before && word()?.nackCode !== '');
  const said = word();
  if (said === undefined) throw new Error('nothing was said');
  expect([said.version, said.digest]).toEqual([BigInt(version), digestOf(active)]);
  expect(await node.ask(token)).toEqual([200, '']);
  return said;
}

const honest = (change: Change = {}): Promise<SnapshotDelta> => signDelta(active, second(), change);
const withChanged = async (change: (changed: readonly Entry[]) => readonly Entry[]): Promise<SnapshotDelta> => {
  const delta = await honest();
  return { ...delta, changed: change(delta.changed).map((entry) => create(SnapshotEntrySchema, entry)) };
};

type Attack = readonly [string, () => Promise<SnapshotDelta>, string];

const REFUSED: readonly Attack[] = [
  [
    'SNP-03, TUF arbitrary software: signed by an unknown key',
    () => honest({ signer: stranger }),
    'snapshot_signature_invalid',
  ],
  ['SNP-03, TUF wrong key: by the token key', () => honest({ signer: tokenKey }), 'snapshot_signature_invalid'],
  ['TUF key compromise, node: by the key of a node', () => honest({ signer: nodeKey }), 'snapshot_signature_invalid'],
  [
    'TUF key compromise, tokens: by a key that its own thief has introduced',
    () => honest({ signer: stranger, root: stranger, statement: { kid: stranger.kid, jwk: stranger.publicJwk } }),
    'snapshot_signature_invalid',
  ],
  ['by a key whose time is over', () => honest({ statement: { not_after: NOW - 10 } }), 'snapshot_signature_invalid'],
  ['of another pool', () => honest({ manifest: { pool: 'other' } }), 'snapshot_foreign'],
  [
    'SNP-05, TUF rollback: to a version that was',
    () => honest({ manifest: { version: version - 1 } }),
    'snapshot_rollback',
  ],
  ['SNP-07: to the same version', () => honest({ manifest: { version } }), 'snapshot_equivocation'],
  ['SNP-07: of another past', () => honest({ manifest: { previous: 'ab'.repeat(32) } }), 'snapshot_equivocation'],
  [
    'SNP-09, TUF freeze: expired',
    () => honest({ manifest: { issued_at: NOW - 9, expires_at: NOW - 1 } }),
    'snapshot_stale',
  ],
  [
    'SNP-09: from tomorrow',
    () => honest({ manifest: { issued_at: NOW + 86_400, expires_at: NOW + 90_000 } }),
    'snapshot_stale',
  ],
  ['SNP-19: a member twice', () => honest({ spell: (text) => text.replace('{', '{"v":1,') }), 'snapshot_malformed'],
  ['an unknown feature', () => honest({ manifest: { features: ['telepathy'] } }), 'snapshot_feature_unknown'],
  [
    'SNP-11, TUF mix-and-match: from a base that the node has not, by its digest',
    async () => ({ ...(await honest()), baseDigest: 'cd'.repeat(32) }),
    'snapshot_base_unknown',
  ],
  [
    'SNP-11, TUF mix-and-match: from a base that the node has not, by its version',
    async () => ({ ...(await honest()), baseVersion: BigInt(version + 7) }),
    'snapshot_base_unknown',
  ],
  ['SNP-11, TUF mix-and-match: a step of a chain left out', afterNext, 'snapshot_base_unknown'],
  [
    'SNP-11: without the cut-off that it should bring',
    () => withChanged((changed) => changed.filter(({ kind }) => kind !== 'cutoff')),
    'snapshot_root_mismatch',
  ],
  [
    'SNP-11: with a cut-off that was not signed',
    () => withChanged((changed) => [...changed.slice(0, 1), cutoff('most'), ...changed.slice(1)]),
    'snapshot_root_mismatch',
  ],
  [
    'SNP-11: with the content of another one',
    () => withChanged((changed) => changed.map((one) => (one.kind === 'scope' ? scope('b/reads', 'GET /**') : one))),
    'snapshot_root_mismatch',
  ],
  [
    'SNP-11: with a service that should be gone',
    async () => ({ ...(await honest()), removed: [] }),
    'snapshot_root_mismatch',
  ],
  [
    'a removal of what is not there',
    async () => ({ ...(await honest()), removed: [nameOf('service', 'nobody')] }),
    'snapshot_malformed',
  ],
  [
    'a removal of a cut-off that was not signed',
    async () => ({ ...(await honest()), removed: [nameOf('cutoff', 'lost'), nameOf('service', 'c')] }),
    'snapshot_root_mismatch',
  ],
  ['a change that changes nothing', () => withChanged((changed) => [cutoff('lost'), ...changed]), 'snapshot_malformed'],
  ['the same change twice', () => withChanged((changed) => changed.flatMap((one) => [one, one])), 'snapshot_malformed'],
  ['changes out of order', () => withChanged((changed) => changed.toReversed()), 'snapshot_malformed'],
  [
    'what is changed and removed at once',
    async () => ({ ...(await honest()), removed: [nameOf('cutoff', 'more'), nameOf('service', 'c')] }),
    'snapshot_malformed',
  ],
  [
    'signed and inconsistent: a scope without its service',
    () =>
      signDelta(
        active,
        first().filter(({ kind, name }) => kind !== 'service' || name !== 'b'),
      ),
    'snapshot_inconsistent',
  ],
  [
    'signed and inconsistent: a scope of nobody',
    () => signDelta(active, withScope('nobody/x')),
    'snapshot_inconsistent',
  ],
  ['signed and inconsistent: two default services', () => signDelta(active, twoDefaults()), 'snapshot_inconsistent'],
  ['signed and of an unknown kind', () => signDelta(active, [...first(), unknown()]), 'snapshot_feature_unknown'],
];

// Hoisted, for the table above.
function nameOf(kind: string, name: string): SnapshotDelta['removed'][number] {
  return { $typeName: 'daypass.v1.EntryName', kind, name };
}
function withScope(name: string): readonly Entry[] {
  const [lost, key, reads, ...services] = first() as [Entry, Entry, Entry, ...Entry[]];
  return [lost, key, reads, scope(name, 'GET /'), ...services];
}
function twoDefaults(): readonly Entry[] {
  return first().map((one) =>
    one.kind === 'service' && one.name !== 'api' ? service(one.name, { is_default: true }) : one,
  );
}
function unknown(): Entry {
  return { kind: 'zebra', name: 'x', content: Buffer.from('{}') };
}
async function afterNext(): Promise<SnapshotDelta> {
  const next = await signSnapshot(version + 1, { entries: second(), manifest: { previous: digestOf(active) } });
  return signDelta(next, first());
}

test.each(REFUSED)('%s: the delta is refused, said by its code, and the node goes on', async (_name, make, code) => {
  expect((await refusalOf(bringingDelta(await make()))).nackCode).toBe(code);
});

test('SNP-01 one byte of a delta flipped is refused', async () => {
  const delta = await honest();
  const flip = (bytes: Uint8Array, at: number) => bytes.map((byte, i) => (i === at ? byte ^ 1 : byte));
  const [some] = delta.changed;
  const { key } = delta;
  if (some === undefined || key === undefined) throw new Error('the delta is empty');
  const torn: readonly (readonly [SnapshotDelta, string])[] = [
    ...[0, 60, 120].map(
      (at) => [{ ...delta, manifest: flip(delta.manifest, at) }, 'snapshot_signature_invalid'] as const,
    ),
    ...[0, 31, 63].map(
      (at) => [{ ...delta, signature: flip(delta.signature, at) }, 'snapshot_signature_invalid'] as const,
    ),
    [{ ...delta, key: { ...key, statement: flip(key.statement, 9) } }, 'snapshot_signature_invalid'],
    [{ ...delta, key: { ...key, signature: flip(key.signature, 9) } }, 'snapshot_signature_invalid'],
    [
      { ...delta, changed: delta.changed.with(0, { ...some, content: flip(some.content, 5) }) },
      'snapshot_root_mismatch',
    ],
    [{ ...delta, changed: delta.changed.with(0, { ...some, name: 'mory' }) }, 'snapshot_root_mismatch'],
    [{ ...delta, removed: [nameOf('service', 'b')] }, 'snapshot_root_mismatch'],
  ];
  for (const [one, code] of torn) expect((await refusalOf(bringingDelta(one))).nackCode).toBe(code);
});

test('after all of these the node takes the honest delta, once, and what it says holds', async () => {
  await activate();
  const delta = await honest();
  const [lost, passing] = [await mint('b'), await mint('c')];
  expect(await node.ask(passing, 'c')).toEqual([200, '']);
  await until('a stream is open', () => control.streams() === 1);
  control.send(bringingDelta(delta));
  const next = await signSnapshot(version + 1, { entries: second(), manifest: { previous: digestOf(active) } });
  await until('it is active', () => word()?.version === BigInt(version + 1) && word()?.nackCode === '');
  expect([await node.ask(passing, 'c'), await node.ask(lost, 'b')]).toEqual([
    [404, 'service_unknown'],
    [200, ''],
  ]);
  // Sent again it is what the node has.
  const before = control.heard.length;
  control.send(bringingDelta(delta));
  await until('it says what it has', () => control.heard.length > before);
  expect(word()).toMatchObject({ version: BigInt(version + 1), nackCode: '' });
  version += 1;
  active = { ...next, manifest: delta.manifest, signature: delta.signature };
});

test('a node that has nothing asks for the whole when it is sent a delta, and serves by that', async () => {
  const own = await startFakeControl();
  const delta = await signDelta(active, first());
  own.onWatch((stream, { acceptsDelta }) => {
    stream.write(own.watched.length > 1 && !acceptsDelta ? bringing(active) : bringingDelta(delta));
  });
  await using fresh = await startNode(own.url);
  await until('it has refused the delta', () => own.heard.at(-1)?.report.nackCode === 'snapshot_base_unknown');
  own.cut();
  await until('it has the whole', () => own.heard.at(-1)?.report.digest === digestOf(active));
  expect(await fresh.ask(token)).toEqual([200, '']);
  await own.close();
});

test('a token that a delta cuts off is refused from its acknowledgement on, also where its stream is open', async () => {
  await activate();
  const bot = await mint();
  expect(await node.ask(bot)).toEqual([200, '']);
  const [lost, key, ...rest] = first() as [Entry, Entry, ...Entry[]];
  const cut = encodeEntry('cutoff', 'now', { client: 'bot', minted_before: NOW + 60 });
  control.send(bringingDelta(await signDelta(active, [lost, cut, key, ...rest])));
  await until('it is active', () => word()?.version === BigInt(version + 1));
  expect(await node.ask(bot)).toEqual([401, 'token_revoked']);
});
