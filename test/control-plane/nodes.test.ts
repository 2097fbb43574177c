// Nodes: enrolled once by a token, shown, and expelled for ever.
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { type AuditRecord, batchStatement, encodeRecord, GENESIS } from '@daypass/core/audit';
import { isEnrolmentToken, rootOfEnrolmentToken } from '@daypass/core/enrolment';
import {
  AUDIT_LABEL,
  fingerprint,
  type GeneratedKey,
  generateSigningKey,
  importEd25519,
  signBytes,
  verifySignedKey,
} from '@daypass/core/key';
import { parseManifest, verifySnapshot } from '@daypass/core/snapshot';
import { AuditKind } from '@daypass/sdk/gen/daypass/v1/audit_pb';
import { NodeService, NodeState } from '@daypass/sdk/gen/daypass/v1/node_pb';
import type { Snapshot } from '@daypass/sdk/gen/daypass/v1/snapshot_pb';
import { expect, test } from 'vitest';
import { createWatches } from '../../control-plane/domain/watches.ts';
import type { NodeRow } from '../../control-plane/store/interface.ts';
import { clientsAs, enrol, enrolNew, enrolRequest } from './enrolling.ts';
import { errorOf, makeHome, type Running, startControl, until } from './fixture.ts';

const NOW = { seconds: 0n };
const upstream = 'https://api.example.com';

/** The code of a refusal, and the field at fault. */
const refusalOf = async (work: Promise<unknown>): Promise<readonly (string | null)[]> => {
  const { metadata } = (await errorOf(work)) as { metadata: Headers };
  return [metadata.get('daypass-error-code'), metadata.get('daypass-error-field')];
};

const changesOf = async (control: Running): Promise<readonly string[]> =>
  (await control.admin.audit.query({ filter: { kind: AuditKind.CHANGE } })).events.map(
    ({ caller, method, path }) => `${caller} ${method} ${path}`,
  );

const poolSizeOf = async (control: Running, snapshot: Snapshot | undefined): Promise<number | undefined> => {
  if (snapshot?.key === undefined) throw new Error('no snapshot');
  const { manifest, signature, key, entries } = snapshot;
  const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest();
  const { home } = control;
  const trust = { root: home.root.publicJwk, fleet: home.fleet, pool: 'default', floor: 0, now: Date.now() / 1000 };
  return (await verifySnapshot({ manifest, signature, key, entries }, { ...trust, sha256 })).pool?.nodes;
};

test('a token enrols one node, which learns fleet, root, pool and name, and may connect', async () => {
  await using control = await startControl();
  const made = await control.admin.nodes.createEnrolment({ name: 'edge-1' });
  expect(isEnrolmentToken(made.token)).toBe(true);
  expect(rootOfEnrolmentToken(made.token)).toBe(await fingerprint(control.home.root.publicJwk));
  expect(made).toMatchObject({ pool: 'default', name: 'edge-1' });
  const livesMs = Number(made.expireTime?.seconds) * 1000 - Date.now();
  expect(livesMs).toBeGreaterThan(59 * 60_000);
  expect(livesMs).toBeLessThanOrEqual(60 * 60_000);

  const { enrolled, clients } = await enrol(control, made.token);
  expect(enrolled).toMatchObject({ fleet: control.home.fleet, pool: 'default', name: 'edge-1' });
  expect(JSON.parse(enrolled.root)).toMatchObject({ x: control.home.root.publicJwk.x });
  const trust = { root: control.home.root.publicJwk, fleet: enrolled.fleet, pool: enrolled.pool };
  if (enrolled.key === undefined) throw new Error('no key');
  await expect(
    verifySignedKey(enrolled.key, { ...trust, use: 'snapshot', now: Date.now() / 1000 }),
  ).resolves.toBeDefined();
  // The fixture has two nodes of this pool.
  expect(await poolSizeOf(control, (await clients.snapshots.get({})).snapshot)).toBe(3);
  const [enrolment, node, making] = await changesOf(control);
  const hash = createHash('sha256').update(made.token).digest('hex').slice(0, 16);
  expect([making, node, enrolment]).toEqual([
    `admin NodeService/CreateEnrolment enrolments/${hash}`,
    'admin NodeService/Enrol nodes/edge-1',
    `admin NodeService/Enrol enrolments/${hash}`,
  ]);
  expect(control.logged.join('')).not.toContain(made.token);
});

test('of many that come with one token at once, exactly one is enrolled', async () => {
  await using control = await startControl();
  const { token } = await control.admin.nodes.createEnrolment({});
  const tries = Array.from({ length: 12 }, (_, at) => enrol(control, token, `edge-${at}`));
  const results = await Promise.allSettled(tries);
  expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  const refusals = tries.filter((_, at) => results[at]?.status === 'rejected').map((one) => refusalOf(one));
  expect(new Set((await Promise.all(refusals)).map(([code]) => code))).toEqual(new Set(['unauthenticated']));
  const { nodes } = await control.admin.nodes.list({});
  expect(nodes.filter(({ name }) => name.startsWith('edge-'))).toHaveLength(1);
});

test('whoever used a token gets the same answer again, and is still one node; expelled, it gets none', async () => {
  await using control = await startControl();
  const { token } = await control.admin.nodes.createEnrolment({});
  const first = await enrol(control, token, 'edge-1');
  expect((await enrol(control, token, 'edge-1', first.key)).enrolled).toEqual(first.enrolled);
  expect((await enrol(control, token, '', first.key)).enrolled).toEqual(first.enrolled);
  expect(await refusalOf(enrol(control, token, 'edge-2', first.key))).toEqual(['unauthenticated', null]);
  expect(await refusalOf(enrol(control, token, 'edge-1'))).toEqual(['unauthenticated', null]);
  expect((await changesOf(control)).filter((change) => change.includes('Enrol nodes/'))).toHaveLength(1);
  await control.admin.nodes.expel({ name: 'edge-1', wait: NOW });
  expect(await refusalOf(enrol(control, token, 'edge-1', first.key))).toEqual(['unauthenticated', null]);
});

test('a token that is not there, was used, has ended, or is of another fleet gets one answer', async () => {
  let offset = 0;
  await using control = await startControl({ now: () => Date.now() + offset });
  await using other = await startControl({ home: await makeHome() });
  const make = async (by: Running) => (await by.admin.nodes.createEnrolment({ ttl: { seconds: 60n } })).token;
  const [used, ended, foreign] = [await make(control), await make(control), await make(other)];
  await enrol(control, used, 'edge-1');
  const unknown = `dpe_${'A'.repeat(43)}_${await fingerprint(control.home.root.publicJwk)}`;
  offset = 61_000;
  const answers = await Promise.all(
    [used, ended, foreign, unknown].map(async (token) => {
      const error = (await errorOf(enrol(control, token, 'edge-2'))) as Error;
      return error.message;
    }),
  );
  expect(new Set(answers)).toEqual(
    new Set(['[unauthenticated] The enrolment token is not there, was used, or has ended']),
  );
  await other.home.remove();
});

test('a caller that was deleted, or is no admin any more, invites nobody', async () => {
  await using control = await startControl();
  const invite = async (name: string): Promise<string> => {
    const { apiKey } = await control.admin.callers.create({ caller: { name, admin: true } });
    return (await control.client(NodeService, apiKey).createEnrolment({})).token;
  };
  const [gone, lowered, kept] = [await invite('gone'), await invite('lowered'), await invite('kept')];
  await control.admin.callers.delete({ name: 'gone', wait: NOW });
  await control.admin.callers.create({ caller: { name: 'gone', admin: true } });
  await control.admin.callers.update({ caller: { name: 'lowered' }, updateMask: { paths: ['admin'] } });
  expect(await refusalOf(enrol(control, gone, 'a'))).toEqual(['unauthenticated', null]);
  expect(await refusalOf(enrol(control, lowered, 'b'))).toEqual(['unauthenticated', null]);
  await expect(enrol(control, kept, 'c')).resolves.toBeDefined();
});

test('without the private key, or for another token or name, nobody is enrolled and the token stays good', async () => {
  await using control = await startControl();
  const { token } = await control.admin.nodes.createEnrolment({});
  const { token: second } = await control.admin.nodes.createEnrolment({});
  const [key, stranger] = [await generateSigningKey(), await generateSigningKey()];
  const good = await enrolRequest(token, 'edge-1', key);
  const { x } = stranger.publicJwk;
  const wrong: readonly [object, string][] = [
    [{ jwk: JSON.stringify({ kty: 'OKP', crv: 'Ed25519', x }) }, 'proof'],
    [{ name: 'edge-2' }, 'proof'],
    [{ token: second }, 'proof'],
    [{ proof: good.proof.map((byte, at) => (at === 5 ? byte ^ 1 : byte)) }, 'proof'],
    [{ proof: good.proof.slice(1) }, 'proof'],
    [{ jwk: '{}' }, 'jwk'],
    [{ jwk: JSON.stringify(key.privateJwk) }, 'jwk'],
    [{ jwk: 'x' }, 'jwk'],
    [{ name: 'Edge_1' }, 'name'],
    [{ token: token.slice(0, -1) }, 'token'],
  ];
  for (const [change, field] of wrong) {
    const refused = await refusalOf(control.client(NodeService).enrol({ ...good, ...change }));
    expect([change, ...refused]).toEqual([change, 'invalid_argument', field]);
  }
  await expect(control.client(NodeService).enrol(good)).resolves.toMatchObject({ name: 'edge-1' });
});

test('a name or key that any node has, or had, is not taken again, and a wrong name does not use the token up', async () => {
  await using control = await startControl();
  const first = await enrolNew(control, 'edge-1');
  await control.admin.nodes.expel({ name: 'edge-1', wait: NOW });
  const make = async (name = '') => (await control.admin.nodes.createEnrolment({ name })).token;
  expect(await refusalOf(make('edge-1'))).toEqual(['already_exists', 'name']);
  expect(await refusalOf(make('node-1'))).toEqual(['already_exists', 'name']);
  const token = await make();
  expect(await refusalOf(enrol(control, token, 'edge-1'))).toEqual(['already_exists', 'name']);
  expect(await refusalOf(enrol(control, token, 'node-3'))).toEqual(['already_exists', 'name']);
  expect(await refusalOf(enrol(control, token, 'edge-2', first.key))).toEqual(['already_exists', 'jwk']);
  expect(await refusalOf(enrol(control, token))).toEqual(['invalid_argument', 'name']);
  expect(await refusalOf(enrol(control, await make('edge-3'), 'edge-4'))).toEqual(['invalid_argument', 'name']);
  await expect(enrol(control, token, 'edge-2')).resolves.toBeDefined();
});

test('outsiders who try tokens without end are held to a few at a time, and an admin is answered meanwhile', async () => {
  await using control = await startControl();
  const unknown = `dpe_${'A'.repeat(43)}_${await fingerprint(control.home.root.publicJwk)}`;
  const request = await enrolRequest(unknown, 'edge-1', await generateSigningKey());
  const answers: (string | null)[] = [];
  let isOver = false;
  const knocking = Array.from({ length: 100 }, async () => {
    while (!isOver) answers.push((await refusalOf(control.client(NodeService).enrol(request)))[0] ?? null);
  });
  await until(() => answers.length > 200);
  await expect(control.admin.nodes.createEnrolment({ name: 'edge-1' })).resolves.toBeDefined();
  isOver = true;
  await Promise.all(knocking);
  expect(answers.filter((code) => code !== 'unauthenticated' && code !== 'overloaded')).toEqual([]);
  // More than may be under way, so that each gave its place back.
  expect(answers.filter((code) => code === 'unauthenticated').length).toBeGreaterThan(64);
  // The admin's own is the one change: nothing of theirs is in the audit.
  expect(await changesOf(control)).toHaveLength(1);
});

test('a token is for a pool that there is, and lives 24 hours at most', async () => {
  await using control = await startControl();
  const create = (asked: object) => control.admin.nodes.createEnrolment(asked);
  expect(await refusalOf(create({ pool: 'none' }))).toEqual(['not_found', 'pool']);
  expect(await refusalOf(create({ ttl: { seconds: 86_401n } }))).toEqual(['invalid_argument', 'ttl']);
  expect(await refusalOf(create({ ttl: { seconds: 0n } }))).toEqual(['invalid_argument', 'ttl']);
  expect(await create({ pool: 'other', ttl: { seconds: 86_400n } })).toMatchObject({ pool: 'other' });
});

test('nodes are listed a page at a time with what each reported last', async () => {
  await using control = await startControl();
  const { clients } = await enrolNew(control, 'edge-1');
  const { snapshot } = await clients.snapshots.get({});
  const { version, expires_at } = parseManifest(snapshot?.manifest ?? new Uint8Array());
  await clients.snapshots.report({
    ...{ node: 'edge-1', version: BigInt(version), digest: 'a'.repeat(64), software: '1.2.3' },
    ...{ refusedVersion: BigInt(version + 1), nackCode: 'snapshot_stale', nackMessage: 'too old' },
    leaseExpiresAt: { seconds: BigInt(expires_at) },
  });
  await control.admin.services.create({ service: { name: 'a', upstream }, wait: NOW });
  const first = await control.admin.nodes.list({ pageSize: 2 });
  const rest = await control.admin.nodes.list({ pageSize: 2, pageToken: first.nextPageToken });
  expect([...first.nodes, ...rest.nodes].map(({ name }) => name)).toEqual(['edge-1', 'node-1', 'node-2', 'node-3']);
  expect(rest.nextPageToken).toBe('');
  expect(first.nodes[0]).toMatchObject({
    ...{ pool: 'default', state: NodeState.ENROLLED, version: BigInt(version), newestVersion: BigInt(version + 1) },
    ...{ nackCode: 'snapshot_stale', nackMessage: 'too old', refusedVersion: BigInt(version + 1), software: '1.2.3' },
    ...{ enrolledBy: 'admin', leaseExpiresAt: { seconds: BigInt(expires_at) } },
  });
  expect(first.nodes[1]).toMatchObject({ state: NodeState.ENROLLED, version: 0n, enrolledBy: '' });
  expect(first.nodes[1]?.reportTime).toBeUndefined();
});

test('an expelled node is refused at once, in the middle of its stream too, and counts for nothing', async () => {
  await using control = await startControl({ home: await makeHome({ 'node-1': 'default' }) });
  const { clients, key } = await enrolNew(control, 'edge-1');
  const { snapshot } = await clients.snapshots.get({});
  const { version, expires_at } = parseManifest(snapshot?.manifest ?? new Uint8Array());
  const lease = { seconds: BigInt(expires_at) };
  await clients.snapshots.report({ node: 'edge-1', version: BigInt(version), leaseExpiresAt: lease });
  let streaming = false;
  const read = async () => {
    for await (const _ of clients.snapshots.watch({})) streaming = true;
  };
  const ended = refusalOf(read());
  await until(() => streaming);
  const waiting = control.admin.services.create({ service: { name: 'a', upstream }, wait: { seconds: 5n } });
  // The change waits for the node that does not answer, and for no longer than it is there.
  await until(async () => (await control.admin.services.list({})).services.length === 1);

  const began = performance.now();
  const { node, rollout } = await control.admin.nodes.expel({ name: 'edge-1' });
  expect(node).toMatchObject({ state: NodeState.EXPELLED, leaseExpiresAt: lease });
  expect(rollout?.missing).toEqual([]);
  expect(rollout?.waitDuration).toBeDefined();
  expect(await ended).toEqual(['unauthenticated', null]);
  expect((await waiting).rollout?.missing).toEqual([]);
  expect(performance.now() - began).toBeLessThan(4000);

  for (const call of [
    () => clients.snapshots.get({}),
    () => clients.snapshots.report({ node: 'edge-1' }),
    () => clients.snapshots.watch({})[Symbol.asyncIterator]().next(),
    () => ingest(clients, key),
  ])
    expect(await refusalOf(call())).toEqual(['unauthenticated', null]);
  expect(await poolSizeOf(control, (await control.asNode('node-1').snapshots.get({})).snapshot)).toBe(1);
  expect(await refusalOf(control.admin.nodes.expel({ name: 'edge-1' }))).toEqual(['failed_precondition', 'name']);
  expect(await refusalOf(control.admin.nodes.expel({ name: 'nobody' }))).toEqual(['not_found', 'name']);
  expect(await changesOf(control)).toContain('admin NodeService/Expel nodes/edge-1');
  await control.home.remove();
});

const ingest = async (clients: ReturnType<typeof clientsAs>, key: GeneratedKey) => {
  const who = { jti: 'j', caller: 'c', principal: 'p', client: 'ci', service: 's', credential_id: '', source: '' };
  const what = { method: 'GET', path: '/', rule: '', result: 'allowed', reason: '', snapshot_version: 1, count: 1 };
  const chain = { seq: 1, prev: GENESIS, id: 'd1', time: 1_700_000_000_000, node: 'edge-1' };
  const record = new TextEncoder().encode(encodeRecord({ kind: 'decision', ...chain, ...who, ...what } as AuditRecord));
  const statement = batchStatement('edge-1', 1, 1, createHash('sha256').update(record).digest('hex'));
  const signature = await signBytes(await importEd25519(key.privateJwk, 'sign'), AUDIT_LABEL, statement);
  return clients.audit.ingest({ node: 'edge-1', firstSeq: 1n, records: [record], signature });
};

test('a restart brings no expelled node back, though the file names it, and none that a token enrolled is lost', async () => {
  await using before = await startControl();
  const { clients, key } = await enrolNew(before, 'edge-1');
  await clients.snapshots.get({});
  await before.admin.nodes.expel({ name: 'node-2', wait: NOW });
  await before.app.close();
  await using after = await startControl({ home: before.home });
  expect(await refusalOf(after.asNode('node-2').snapshots.get({}))).toEqual(['unauthenticated', null]);
  await expect(clientsAs(after, 'edge-1', key).snapshots.get({})).resolves.toBeDefined();
  await expect(after.asNode('node-1').snapshots.get({})).resolves.toBeDefined();
  expect(after.logged.some((line) => line.includes('node-2') && line.includes('it was expelled'))).toBe(true);
});

test('the file cannot take over the name or the key of a node that a token enrolled', async () => {
  await using before = await startControl();
  const { key } = await enrolNew(before, 'edge-1');
  await before.app.close();
  const file = `${before.home.path}/control/nodes.json`;
  const { nodes } = JSON.parse(await readFile(file, 'utf8')) as { nodes: object[] };
  const { publicJwk: other } = await generateSigningKey();
  const added = [
    { name: 'edge-1', pool: 'default', jwk: other },
    { name: 'edge-2', pool: 'default', jwk: key.publicJwk },
  ];
  await writeFile(file, JSON.stringify({ v: 1, nodes: [...nodes, ...added] }));
  await using after = await startControl({ home: before.home });
  await expect(clientsAs(after, 'edge-1', key).snapshots.get({})).resolves.toBeDefined();
  expect(await refusalOf(clientsAs(after, 'edge-2', key).snapshots.get({}))).toEqual(['unauthenticated', null]);
  const warned = after.logged.filter((line) => line.includes('a node of the file is not enrolled'));
  expect(warned).toHaveLength(2);
});

test('a node that is taken out of the file is withdrawn, and enrolled again when it is put back', async () => {
  await using first = await startControl();
  const file = `${first.home.path}/control/nodes.json`;
  const text = await readFile(file, 'utf8');
  const { nodes } = JSON.parse(text) as { nodes: { name: string }[] };
  await first.app.close();
  await writeFile(file, JSON.stringify({ v: 1, nodes: nodes.filter(({ name }) => name !== 'node-2') }));
  await using second = await startControl({ home: first.home });
  expect(await refusalOf(second.asNode('node-2').snapshots.get({}))).toEqual(['unauthenticated', null]);
  const { nodes: listed } = await second.admin.nodes.list({});
  expect(listed.find(({ name }) => name === 'node-2')?.state).toBe(NodeState.WITHDRAWN);
  expect(second.logged.filter((line) => line.includes('is withdrawn')).join()).toContain('node-2');
  await second.app.close();
  await writeFile(file, text);
  await using third = await startControl({ home: first.home });
  await expect(third.asNode('node-2').snapshots.get({})).resolves.toBeDefined();
});

test('of two control planes on one database either takes a token once, and an expulsion by one holds at the other', async () => {
  await using here = await startControl();
  await using there = await startControl({ home: here.home });
  const { token } = await here.admin.nodes.createEnrolment({});
  const tries = [enrol(here, token, 'edge-1'), enrol(there, token, 'edge-2')];
  const results = await Promise.allSettled(tries);
  const [won] = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  expect(results.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
  if (won === undefined) throw new Error('nobody was enrolled');
  const { name } = won.enrolled;
  await expect(clientsAs(there, name, won.key).snapshots.get({})).resolves.toBeDefined();
  await here.admin.nodes.expel({ name, wait: NOW });
  expect(await refusalOf(clientsAs(there, name, won.key).snapshots.get({}))).toEqual(['unauthenticated', null]);
  expect(await refusalOf(ingest(clientsAs(there, name, won.key), won.key))).toEqual(['unauthenticated', null]);
});

test('watches of a node that was expelled at another control plane end when this one looks again', async () => {
  const enrolled = new Set(['a', 'b']);
  const rowOf = (name: string) => ({ ...{ name, pool: 'default', enrolledAt: 1, expelledAt: undefined } }) as NodeRow;
  const watches = createWatches({
    get: async (name) => (enrolled.has(name) ? rowOf(name) : undefined),
    ofPool: async () => [...enrolled].map(rowOf),
  });
  const enter = (name: string) => watches.enter({ kind: 'node', name, pool: 'default' });
  const [a, b] = [await enter('a'), await enter('b')];
  enrolled.delete('b');
  expect([a.ended.aborted, b.ended.aborted]).toEqual([false, false]);
  await watches.recheck();
  expect([a.ended.aborted, b.ended.aborted]).toEqual([false, true]);
  await expect(enter('b')).rejects.toMatchObject({ code: 'unauthenticated' });
  b[Symbol.dispose]();
  // The refused one holds no place, and the others can be taken to the last: one more ends the oldest.
  const rest = await Promise.all(Array.from({ length: 7 }, () => enter('a')));
  expect([a, ...rest].some(({ ended }) => ended.aborted)).toBe(false);
  await enter('a');
  expect([a, ...rest].map(({ ended }) => ended.aborted)).toEqual([true, ...rest.map(() => false)]);
});
