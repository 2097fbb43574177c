// Attacks on snapshots (cases SNP-*, and those of the TUF specification §1.5.2) from a hostile control plane, played against a whole node.
import { rmSync } from 'node:fs';
import { copyFile, mkdir, readdir } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { dataPaths } from '@daypass/core/home';
import { generateSealingKey } from '@daypass/core/key';
import { type Entry, encodeEntry } from '@daypass/core/snapshot';
import type { ReportRequest, Snapshot } from '@daypass/sdk/gen/daypass/v1/snapshot_pb';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { serviceConfig } from '../data-plane/service-config.ts';
import { until } from '../kit/deadline.ts';
import { type FakeControl, heartbeat, startFakeControl } from '../kit/fake-control.ts';
import { json, startUpstream, type Upstream } from '../kit/upstream.ts';
import {
  bringing,
  type Change,
  digestOf,
  entriesOf,
  FLEET,
  makeHome,
  mint,
  type Node,
  nodeKey,
  signSnapshot,
  snapshotKey,
  startNode,
  stranger,
  tokenKey,
} from './snapshot-world.ts';

const NOW = Math.floor(Date.now() / 1000);
const ROOT = /"root":"[0-9a-f]+"/;

let control: FakeControl;
let upstream: Upstream;
let node: Node;
let entries: readonly Entry[];
let token: string;
/** What the node serves. */
let active: { readonly version: number; readonly snapshot: Snapshot };

beforeAll(async () => {
  upstream = await startUpstream((_seen, response) => json(response, 200, {}));
  entries = entriesOf(upstream.origin);
  token = await mint();
  control = await startFakeControl();
  node = await startNode(control.url);
  await until('the node watches', () => control.streams() === 1);
  active = { version: 9, snapshot: await signSnapshot(10, { entries }) };
  await advance();
});

afterAll(async () => {
  await node?.[Symbol.asyncDispose]();
  await control?.close();
  await upstream?.close();
});

/** The last word of the node. */
const word = (): ReportRequest | undefined => control.heard.at(-1)?.report;

/** Activates the next honest snapshot. */
async function advance(change: Change = {}, at = control): Promise<Snapshot> {
  const version = active.version + 1;
  const previous = active.version < 10 ? '' : digestOf(active.snapshot);
  const snapshot = await signSnapshot(version, { entries, ...change, manifest: { previous, ...change.manifest } });
  at.send(bringing(snapshot));
  await until(`version ${version} is activated`, () => at.heard.at(-1)?.report.digest === digestOf(snapshot));
  active = { version, snapshot };
  return snapshot;
}

/** A next snapshot that differs from the honest one. */
const next = (change: Change = {}): Promise<Snapshot> =>
  signSnapshot(active.version + 1, {
    entries,
    ...change,
    manifest: { previous: digestOf(active.snapshot), ...change.manifest },
  });

/** Sends bytes; the code by which the node refuses them. It goes on with what it has. */
async function refusalOf(bytes: Uint8Array): Promise<ReportRequest> {
  const before = control.heard.length;
  control.send(bytes);
  await until('it is refused', () => control.heard.length > before && word()?.nackCode !== '');
  const said = word();
  if (said === undefined) throw new Error('nothing was said');
  expect([said.version, said.digest]).toEqual([BigInt(active.version), digestOf(active.snapshot)]);
  expect(await node.ask(token)).toEqual([200, '']);
  return said;
}

const flip = (bytes: Uint8Array, at: number): Uint8Array => bytes.map((byte, i) => (i === at ? byte ^ 1 : byte));
const sealing = await generateSealingKey();

/** What is sent in place of the next snapshot, and the code of its refusal. */
const REFUSED: readonly (readonly [string, () => Promise<Snapshot>, string])[] = [
  // Arbitrary software: what nobody of the fleet has signed.
  [
    'SNP-03, TUF arbitrary software, wrong key: signed by an unknown key',
    () => next({ signer: stranger }),
    SIGNATURE(),
  ],
  [
    'SNP-03, TUF wrong key: by an unknown key that says it is of the root',
    () => next({ signer: stranger, root: stranger, statement: { kid: stranger.kid, jwk: stranger.publicJwk } }),
    SIGNATURE(),
  ],
  ['SNP-03: by a key whose time is over', () => next({ statement: { not_after: NOW - 10 } }), SIGNATURE()],
  // Key compromise by role: each key is good for its own role alone.
  ['SNP-03, TUF key compromise, tokens: signed by the token key', () => next({ signer: tokenKey }), SIGNATURE()],
  [
    'TUF key compromise, tokens: by the token key, whose statement its own thief has signed',
    () => next({ signer: tokenKey, root: tokenKey, statement: { kid: tokenKey.kid, jwk: tokenKey.publicJwk } }),
    SIGNATURE(),
  ],
  ['TUF key compromise, node: signed by the key of a node', () => next({ signer: nodeKey }), SIGNATURE()],
  [
    'TUF key compromise, snapshots: the snapshot key introduces another one',
    () => next({ signer: stranger, root: snapshotKey, statement: { kid: stranger.kid, jwk: stranger.publicJwk } }),
    SIGNATURE(),
  ],
  [
    'TUF key compromise, sealing: a key that the root made for seals',
    () => next({ statement: { use: 'seal', kid: sealing.kid, jwk: sealing.publicJwk } }),
    SIGNATURE(),
  ],
  [
    'TUF key compromise, another pool: its snapshot key',
    () => next({ statement: { pool: 'other' } }),
    'snapshot_foreign',
  ],
  ['another fleet', () => next({ manifest: { fleet: `${FLEET.slice(0, -1)}B` } }), 'snapshot_foreign'],
  ['another pool', () => next({ manifest: { pool: 'other' } }), 'snapshot_foreign'],
  // Rollback.
  ['SNP-05, TUF rollback: an older version, rightly signed', () => signSnapshot(9, { entries }), 'snapshot_rollback'],
  ['SNP-05, TUF rollback: version 1 with a new lease', () => signSnapshot(1, { entries }), 'snapshot_rollback'],
  [
    'SNP-07: the same version with another content',
    () => signSnapshot(active.version, { entries, manifest: { previous: 'ab'.repeat(32) } }),
    'snapshot_equivocation',
  ],
  [
    'SNP-07: the next version of another past',
    () => next({ manifest: { previous: 'ab'.repeat(32) } }),
    'snapshot_equivocation',
  ],
  // Freeze: nothing that is no longer, or not yet, true.
  [
    'SNP-09, TUF freeze: expired',
    () => next({ manifest: { issued_at: NOW - 9, expires_at: NOW - 1 } }),
    'snapshot_stale',
  ],
  ['SNP-09, TUF freeze: of the year 9999', () => next({ manifest: { expires_at: 253_402_300_799 } }), 'snapshot_stale'],
  [
    'SNP-09: issued tomorrow',
    () => next({ manifest: { issued_at: NOW + 86_400, expires_at: NOW + 90_000 } }),
    'snapshot_stale',
  ],
  ['SNP-09: without an end', () => next({ spell: (text) => text.replace(/"expires_at":\d+,/, '') }), MALFORMED()],
  [
    'SNP-09: an end that is no date',
    () => next({ spell: (text) => text.replace(/"expires_at":\d+/, '"expires_at":"never"') }),
    MALFORMED(),
  ],
  // Mix and match.
  ['SNP-11, TUF mix-and-match: the entries of another version', mixed, 'snapshot_root_mismatch'],
  [
    'SNP-11, TUF mix-and-match: an entry too few',
    async () => ({ ...(await next()), entries: [] }),
    'snapshot_root_mismatch',
  ],
  ['SNP-13: a hash of another kind', () => next({ spell: (text) => text.replace('{', '{"alg":"md5",') }), MALFORMED()],
  [
    'SNP-13: a root that is md5',
    () => next({ spell: (text) => text.replace(ROOT, '"root":"d41d8cd98f00b204e9800998ecf8427e"') }),
    MALFORMED(),
  ],
  ['SNP-13: no root', () => next({ spell: (text) => text.replace(ROOT, '"root":""') }), MALFORMED()],
  ['SNP-19: a member twice', () => next({ spell: (text) => text.replace('{', '{"v":1,') }), MALFORMED()],
  ['SNP-19: a byte order mark', () => next({ spell: (text) => `\ufeff${text}` }), MALFORMED()],
  ['SNP-19: NaN', () => next({ spell: (text) => text.replace(/"issued_at":\d+/, '"issued_at":NaN') }), MALFORMED()],
  [
    'SNP-19: deep nesting',
    () => next({ spell: (text) => text.replace('"features":[]', `"features":${'['.repeat(900)}${']'.repeat(900)}`) }),
    MALFORMED(),
  ],
  ['an unknown feature', () => next({ manifest: { features: ['telepathy'] } }), 'snapshot_feature_unknown'],
  [
    'SNP-19: a service whose JSON has a member twice',
    () => next({ entries: [{ kind: 'service', name: 'a', content: Buffer.from('{"name":"a","name":"a"}') }] }),
    MALFORMED(),
  ],
  [
    'two default services',
    () =>
      next({
        entries: ['a', 'b'].map((name) =>
          encodeEntry('service', name, serviceConfig({ name, origin: 'https://a.example', is_default: true })),
        ),
      }),
    'snapshot_inconsistent',
  ],
];

// Hoisted, for the table above.
function SIGNATURE(): string {
  return 'snapshot_signature_invalid';
}
function MALFORMED(): string {
  return 'snapshot_malformed';
}
async function mixed(): Promise<Snapshot> {
  const other = await signSnapshot(3, { entries: entriesOf('https://evil.example') });
  return { ...(await next()), entries: other.entries };
}

test.each(REFUSED)('%s is refused, said by its code, and the node goes on', async (_name, make, code) => {
  expect((await refusalOf(bringing(await make()))).nackCode).toBe(code);
});

test('after all of these the honest next one is taken, and the refusal is forgotten', async () => {
  await advance();
  expect(word()).toMatchObject({ nackCode: '', refusedVersion: 0n });
});

test('SNP-01 one byte flipped anywhere in what is signed is refused', async () => {
  const honest = await next();
  const { manifest, signature, key } = honest;
  if (key === undefined) throw new Error('there is no key');
  const every = (bytes: Uint8Array, step: number) =>
    Array.from({ length: Math.ceil(bytes.length / step) }, (_, i) => flip(bytes, i * step));
  const changed: Snapshot[] = [
    ...every(manifest, 9).map((bytes) => ({ ...honest, manifest: bytes })),
    ...every(signature, 9).map((bytes) => ({ ...honest, signature: bytes })),
    ...every(key.statement, 13).map((statement) => ({ ...honest, key: { ...key, statement } })),
    ...every(key.signature, 13).map((bytes) => ({ ...honest, key: { ...key, signature: bytes } })),
  ];
  const codes = new Set<string>();
  for (const one of changed) codes.add((await refusalOf(bringing(one))).nackCode);
  expect([...codes]).toEqual([SIGNATURE()]);
  const [first] = honest.entries;
  if (first === undefined) throw new Error('there is no entry');
  const torn = { ...honest, entries: honest.entries.with(0, { ...first, content: flip(first.content, 40) }) };
  expect((await refusalOf(bringing(torn))).nackCode).toBe('snapshot_root_mismatch');
});

test('SNP-07 an equivocation is reported with both hashes', async () => {
  const other = await signSnapshot(active.version, { entries, manifest: { previous: 'cd'.repeat(32) } });
  const { nackMessage } = await refusalOf(bringing(other));
  expect(nackMessage).toContain(digestOf(active.snapshot));
  expect(nackMessage).toContain(digestOf(other));
});

test('SNP-25 a service that is removed is refused to the next request of a connection that stays open', async () => {
  await advance({ entries: entriesOf(upstream.origin, ['api', 'passing']) });
  const passing = await mint('passing');
  expect(await node.ask(passing, 'passing')).toEqual([200, '']);
  await advance();
  expect(await node.ask(passing, 'passing')).toEqual([404, 'service_unknown']);
  expect(await node.ask(token)).toEqual([200, '']);
});

describe('SNP-15, TUF endless data', () => {
  const frame = (declared: number): Uint8Array => {
    const head = Buffer.alloc(5);
    head.writeUInt32BE(declared, 1);
    return head;
  };

  test('a message that says that it has 4 GB ends the stream before it is read', async () => {
    const watched = control.watched.length;
    control.send(frame(0xffff_ffff));
    await until(
      'another stream is opened in its place',
      () => control.watched.length > watched && control.streams() === 1,
    );
    expect(await node.ask(token)).toEqual([200, '']);
  });

  test('a compressed stream is held to what comes out of it', async () => {
    const before = process.memoryUsage().rss;
    let served = 0;
    const bomb = createServer((_request, response) => {
      served += 1;
      response.writeHead(200, { 'content-type': 'application/connect+proto', 'content-encoding': 'gzip' });
      response.end(gzipSync(Buffer.concat([frame(0xffff_fff0), Buffer.alloc(96 * 1024 * 1024)])));
    });
    await new Promise<void>((resolve) => bomb.listen(0, '127.0.0.1', resolve));
    await using other = await startNode(`http://127.0.0.1:${(bomb.address() as AddressInfo).port}`);
    await until('it has asked again', () => served >= 2);
    expect(await other.isReady()).toBe(false);
    expect(process.memoryUsage().rss - before).toBeLessThan(400 * 1024 * 1024);
    bomb.closeAllConnections();
    bomb.close();
  });

  test('frames without end and without sense end the stream, and an honest one follows', async () => {
    control.onWatch((stream) => {
      control.onWatch((later) => later.write(heartbeat(active.version)));
      stream.write(Buffer.alloc(1024 * 1024, 0xff));
    });
    const watched = control.watched.length;
    control.cut();
    await until(
      'the stream that made no sense was dropped, and another one opened',
      () => control.watched.length >= watched + 2 && control.streams() === 1,
    );
    await advance();
    expect(await node.ask(token)).toEqual([200, '']);
  });
});

describe('SNP-17', () => {
  test('what is cut off in the middle changes nothing, also for a node that starts again', async () => {
    const bytes = bringing(await next());
    const watched = control.watched.length;
    control.send(bytes.subarray(0, bytes.length / 2));
    control.cut();
    await until('the node watches again', () => control.watched.length > watched && control.streams() === 1);
    expect(await node.ask(token)).toEqual([200, '']);
    expect(control.watched.at(-1)?.version).toBe(BigInt(active.version));
    const home = await makeHome();
    const [from, to] = [dataPaths(node.home).snapshot, dataPaths(home).snapshot];
    await copyFolder(from, to);
    await using again = await startNode('http://127.0.0.1:9', home);
    expect(await again.ask(token)).toEqual([200, '']);
    rmSync(home, { recursive: true, force: true });
  });
});

test('SNP-05, TUF rollback: the version that was reached is kept over a restart, whatever else is on disk', async () => {
  const home = await makeHome();
  const own = await startFakeControl();
  const first = await signSnapshot(20, { entries });
  const second = await signSnapshot(21, { entries, manifest: { previous: digestOf(first) } });
  own.onWatch((stream) => stream.write(bringing(first)));
  const before = await startNode(own.url, home);
  await until('the first one is active', () => own.heard.at(-1)?.report.version === 20n);
  const kept = await makeHome();
  await copyFolder(dataPaths(home).snapshot, dataPaths(kept).snapshot);
  own.send(bringing(second));
  await until('the second one is active', () => own.heard.at(-1)?.report.version === 21n);
  await before[Symbol.asyncDispose]();
  // Somebody puts yesterday's snapshot back, but not what it was before that.
  const folder = dataPaths(home).snapshot;
  await copyFolder(dataPaths(kept).snapshot, folder, (name) => !name.startsWith('floor'));
  await using after = await startNode(own.url, home);
  await until('it is refused again', () => own.heard.at(-1)?.report.nackCode === 'snapshot_rollback');
  expect((await after.ask(token))[1]).toBe('snapshot_missing');
  own.send(bringing(await signSnapshot(22, { entries, manifest: { previous: digestOf(second) } })));
  await until('a newer one is taken', () => own.heard.at(-1)?.report.version === 22n);
  expect(await after.ask(token)).toEqual([200, '']);
  await own.close();
  for (const one of [home, kept]) rmSync(one, { recursive: true, force: true });
});

test('SNP-23 two nodes that were given different snapshots of one version say so by their hashes', async () => {
  const other = await startFakeControl();
  const split = await signSnapshot(active.version, { entries, manifest: { previous: 'ef'.repeat(32) } });
  other.onWatch((stream) => stream.write(bringing(split)));
  await using second = await startNode(other.url);
  await until('it is active there', () => other.heard.at(-1)?.report.version === BigInt(active.version));
  await advanceSame();
  expect([word()?.version, word()?.digest]).not.toEqual([BigInt(active.version), other.heard.at(-1)?.report.digest]);
  expect(other.heard.at(-1)?.report.digest).toBe(digestOf(split));
  // Either of them refuses what the other one has.
  other.send(bringing(active.snapshot));
  await until('it is refused', () => other.heard.at(-1)?.report.nackCode === 'snapshot_equivocation');
  expect(await second.ask(token)).toEqual([200, '']);
  await other.close();
});

/** The node says once more what it has. */
async function advanceSame(): Promise<void> {
  const before = control.heard.length;
  control.send(bringing(active.snapshot));
  await until('it says what it has', () => control.heard.length > before);
}

test('TUF slow retrieval, freeze: a control plane that drips, or says nothing new, is served by for one lease and no longer', async () => {
  const own = await startFakeControl();
  await using slow = await startNode(own.url);
  await until('it watches', () => own.streams() === 1);
  const now = Math.floor(Date.now() / 1000);
  const short = await signSnapshot(1, { entries, manifest: { issued_at: now, expires_at: now + 3 } });
  const bytes = bringing(await signSnapshot(2, { entries, manifest: { previous: digestOf(short) } }));
  let at = 0;
  own.send(bringing(short));
  await until('it serves', () => slow.isReady());
  expect(await slow.ask(token)).toEqual([200, '']);
  // A byte of the next one at a time, which would take minutes, with heartbeats before it that say that nothing is new.
  own.send(heartbeat(1));
  const dripping = setInterval(() => {
    own.send(bytes.subarray(at, at + 1));
    at += 1;
  }, 100);
  await until('the lease ends', async () => (await slow.ask(token))[1] === 'snapshot_expired');
  expect(Date.now() / 1000).toBeGreaterThanOrEqual(now + 3);
  clearInterval(dripping);
  await own.close();
});

test('TUF fast-forward: a version far ahead, rightly signed, locks out what is below it, until the root gives a new key', async () => {
  const own = await startFakeControl();
  const home = await makeHome();
  own.onWatch((stream) => stream.write(heartbeat(0)));
  const victim = await startNode(own.url, home);
  await until('it watches', () => own.streams() === 1);
  own.send(bringing(await signSnapshot(2 ** 40, { entries })));
  await until('it is active', () => own.heard.at(-1)?.report.version === BigInt(2 ** 40));
  own.send(bringing(await signSnapshot(5, { entries })));
  await until('the fleet is locked out', () => own.heard.at(-1)?.report.nackCode === 'snapshot_rollback');
  // A version that no count can follow is no version.
  own.send(
    bringing(await signSnapshot(1, { entries, spell: (text) => text.replace('"version":1', '"version":1e308') })),
  );
  await until('it is refused', () => own.heard.at(-1)?.report.nackCode === MALFORMED());
  expect(await victim.ask(token)).toEqual([200, '']);
  // Recovery: a key of the next generation begins the order of versions afresh, and the old key is good for nothing.
  const renewed = { kid: stranger.kid, jwk: stranger.publicJwk, generation: 1 };
  const recovered = await signSnapshot(6, { entries, statement: renewed, signer: stranger });
  own.send(bringing(recovered));
  await until('it is recovered', () => own.heard.at(-1)?.report.digest === digestOf(recovered));
  const later = { entries, manifest: { previous: digestOf(recovered) } };
  own.send(bringing(await signSnapshot(2 ** 40 + 1, later)));
  await until('the key that was stolen is refused', () => (own.heard.at(-1)?.report.nackCode ?? '') !== '');
  expect(own.heard.at(-1)?.report).toMatchObject({ version: 6n, digest: digestOf(recovered) });
  expect(await victim.ask(token)).toEqual([200, '']);
  await victim[Symbol.asyncDispose]();
  await own.close();
  rmSync(home, { recursive: true, force: true });
});

async function copyFolder(from: string, to: string, takes: (name: string) => boolean = () => true): Promise<void> {
  await mkdir(to, { recursive: true });
  for (const name of await readdir(from)) if (takes(name)) await copyFile(join(from, name), join(to, name));
}
