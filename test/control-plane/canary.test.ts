// A change that some nodes get first: two lines of one chain, and how it ends.
import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Code, ConnectError } from '@connectrpc/connect';
import { controlPaths } from '@daypass/core/home';
import { parseManifest, type VerifiedSnapshot, verifySnapshot } from '@daypass/core/snapshot';
import { AuditKind } from '@daypass/sdk/gen/daypass/v1/audit_pb';
import type { Canary } from '@daypass/sdk/gen/daypass/v1/canary_pb';
import { CredentialPlace_Kind, ServiceRegistry } from '@daypass/sdk/gen/daypass/v1/service_pb';
import { expect, test } from 'vitest';
import { openStore } from '../../control-plane/store/open.ts';
import { errorOf, type Home, makeHome, type Options, type Running, sealFor, startControl, until } from './fixture.ts';
import { createNode, decision, outcome } from './recording-node.ts';

const upstream = 'https://api.example.com';
const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest();
const NO_WAIT = { wait: { seconds: 0n } };
const NODES = { 'node-1': 'default', 'node-2': 'default', 'node-3': 'default', 'node-4': 'other' };

/** Takes what a node is given, as the node `as`, and says so; what it has now. */
const take = async (control: Running, name: string, as = name): Promise<VerifiedSnapshot> => {
  const { snapshots } = control.asNode(name);
  const { snapshot } = await snapshots.get({});
  if (snapshot?.key === undefined) throw new Error('no snapshot');
  const { root, fleet } = control.home;
  const trust = { root: root.publicJwk, fleet, pool: 'default', node: as, floor: 0, now: Date.now() / 1000, sha256 };
  const { manifest, signature, key, entries } = snapshot;
  const verified = await verifySnapshot({ manifest, signature, key, entries }, trust);
  const { version, expires_at } = verified.manifest;
  const lease = { leaseExpiresAt: { seconds: BigInt(expires_at) } };
  await snapshots.report({ node: name, version: BigInt(version), digest: verified.digest, ...lease });
  return verified;
};

const versionOf = async (control: Running, name: string): Promise<number> =>
  (await take(control, name)).manifest.version;
const ttlOf = async (control: Running, name: string): Promise<number | undefined> =>
  (await take(control, name)).services.get('github')?.max_ttl_seconds;
const takeAll = (control: Running) => Promise.all(['node-1', 'node-2', 'node-3'].map((name) => take(control, name)));

const shorter = {
  service: { name: 'github', upstream, maxTtl: { seconds: 3600n } },
  updateMask: { paths: ['max_ttl'] },
  ...NO_WAIT,
};
const one = { canary: { count: 1 } };

const begin = async (options: Options = {}) => {
  const home = options.home ?? (await makeHome(NODES));
  const control = await startControl({ ...options, home });
  if (options.home === undefined) {
    await control.admin.services.create({
      service: { name: 'github', upstream, scopes: { a: { rules: ['GET /a'] } } },
      ...NO_WAIT,
    });
    await takeAll(control);
  }
  return { control, home };
};

const close = async ({ control, home }: { readonly control: Running; readonly home: Home }): Promise<void> => {
  await control.app.close();
  await home.remove();
};

const canaryOf = async (control: Running): Promise<Canary | undefined> =>
  (await control.admin.releases.listCanaries({})).canaries[0];
const endOf = (control: Running): Promise<Canary> =>
  until(async () => {
    const canary = await canaryOf(control);
    return canary?.endTime === undefined ? undefined : canary;
  });

test('some nodes get the change, the others and the registry stay as they are, and no node takes what is for another', async () => {
  const scene = await begin();
  const { control } = scene;
  const before = await versionOf(control, 'node-2');
  const { service, rollout } = await control.admin.services.update({ ...shorter, ...one });
  expect([service?.maxTtl?.seconds, rollout?.version]).toEqual([3600n, BigInt(before + 2)]);
  expect(await ttlOf(control, 'node-1')).toBe(3600);
  expect(await ttlOf(control, 'node-2')).toBe(86_400);
  const got = await control.admin.services.get({ name: 'github' });
  expect(got.service?.maxTtl?.seconds).toBe(86_400n);
  await expect(take(control, 'node-1', 'node-2')).rejects.toMatchObject({ code: 'snapshot_foreign' });
  const { manifest } = await take(control, 'node-1');
  expect([manifest.nodes, manifest.features]).toEqual([['node-1'], ['canary']]);

  const canary = await canaryOf(control);
  expect(canary).toMatchObject({ nodes: ['node-1'], subject: 'services/github', caller: 'admin', ending: '' });
  const { snapshots } = await control.admin.releases.listSnapshots({ pageSize: 2 });
  expect(snapshots.map(({ nodes, subject }) => [nodes, subject])).toEqual([
    [['node-1'], 'services/github'],
    [[], 'services/github'],
  ]);
  await close(scene);
});

test('a revocation reaches both lines, and its receipt waits for both', async () => {
  const scene = await begin();
  const { control } = scene;
  const { tokens, services } = control.admin;
  const { jti } = await tokens.mint({ service: 'github', allow: ['GET /a'] });
  await services.update({ ...shorter, ...one });
  await takeAll(control);
  const { rollout } = await tokens.revoke({ target: { case: 'jti', value: jti }, ...NO_WAIT });
  expect(rollout?.missing.map(({ node }) => node).sort()).toEqual(['node-1', 'node-2', 'node-3']);
  const taken = await takeAll(control);
  expect(taken.map(({ status }) => status.size)).toEqual([1, 1, 1]);
  expect(taken.map(({ services: held }) => held.get('github')?.max_ttl_seconds)).toEqual([3600, 86_400, 86_400]);
  const [canary, stable] = taken.map(({ manifest }) => manifest.version);
  expect(canary).toBe((stable ?? 0) + 1);
  const again = await tokens.revoke({ target: { case: 'jti', value: jti }, ...NO_WAIT });
  expect([again.rollout?.acknowledged, again.rollout?.missing]).toEqual([['node-1', 'node-2', 'node-3'], []]);
  await tokens.revoke({ target: { case: 'cutOff', value: { client: 'ci' } }, ...NO_WAIT });
  expect((await takeAll(control)).map(({ cutoffs }) => cutoffs.length)).toEqual([1, 1, 1]);
  await close(scene);
});

test('promoted, all nodes and the registry have it', async () => {
  const scene = await begin();
  const { control } = scene;
  const { services, releases } = control.admin;
  await services.update({ ...shorter, canary: { nodes: ['node-2', 'node-3'] } });
  const before = (await takeAll(control)).map(({ manifest }) => manifest.version);
  const { canary } = await releases.promote({ ...NO_WAIT });
  expect(canary).toMatchObject({ nodes: ['node-2', 'node-3'], ending: 'promoted' });
  const after = await takeAll(control);
  expect(after.map((held) => held.services.get('github')?.max_ttl_seconds)).toEqual([3600, 3600, 3600]);
  expect(new Set(after.map(({ manifest }) => manifest.version)).size).toBe(1);
  expect(after[0]?.manifest.version).toBeGreaterThan(Math.max(...before));
  expect((await services.get({ name: 'github' })).service?.maxTtl?.seconds).toBe(3600n);
  expect(ConnectError.from(await errorOf(releases.promote({}))).code).toBe(Code.NotFound);
  await close(scene);
});

test('taken back, its nodes get the old entries as a higher version', async () => {
  const scene = await begin();
  const { control } = scene;
  const { services, releases } = control.admin;
  const { manifest: old } = await take(control, 'node-1');
  await services.setScope({ service: 'github', scope: 'b', rules: { rules: ['GET /b'] }, ...one, ...NO_WAIT });
  expect([...(await take(control, 'node-1')).scopes.keys()]).toEqual(['github/a', 'github/b']);
  const { version } = (await take(control, 'node-1')).manifest;
  const wrongId = await errorOf(releases.takeBack({ id: 'another' }));
  expect(ConnectError.from(wrongId).code).toBe(Code.NotFound);
  await releases.takeBack({ ...NO_WAIT });
  const { manifest, scopes } = await take(control, 'node-1');
  expect([manifest.root, manifest.version > version, [...scopes.keys()]]).toEqual([old.root, true, ['github/a']]);
  const { events } = await control.admin.audit.query({ filter: { kind: AuditKind.CHANGE } });
  expect(events.slice(0, 2).map(({ method, path, reason, caller }) => [method, path, reason, caller])).toEqual([
    ['ReleaseService/TakeBack', 'services/github/scopes/b', 'canary', 'admin'],
    ['ServiceRegistry/SetScope', 'services/github/scopes/b', 'canary', 'admin'],
  ]);
  await close(scene);
});

test('meanwhile services of the pool stay as they are; what must go on goes on', async () => {
  const scene = await begin();
  const { control } = scene;
  const { services, callers, tokens } = control.admin;
  await services.update({ ...shorter, ...one });
  const refused = ConnectError.from(await errorOf(services.create({ service: { name: 'new', upstream } })));
  expect([refused.code, refused.rawMessage]).toEqual([
    Code.FailedPrecondition,
    expect.stringContaining('services/github by `admin` on node-1'),
  ]);
  expect(ConnectError.from(await errorOf(services.update({ ...shorter, ...one }))).code).toBe(Code.FailedPrecondition);
  await services.create({ service: { name: 'elsewhere', upstream, pool: 'other' }, ...NO_WAIT });
  await callers.create({ caller: { name: 'bot', services: ['github'] } });
  expect((await tokens.mint({ service: 'github', allow: ['GET /a'] })).jti).not.toBe('');
  await control.admin.releases.takeBack({ ...NO_WAIT });
  await services.create({ service: { name: 'new', upstream }, ...NO_WAIT });
  await close(scene);
});

test('a service that is gone on some nodes is there for all until it is promoted, and one that is new is new then', async () => {
  const scene = await begin();
  const { control } = scene;
  const { services, tokens, releases } = control.admin;
  await services.delete({ name: 'github', ...one, ...NO_WAIT });
  expect((await takeAll(control)).map((held) => held.services.has('github'))).toEqual([false, true, true]);
  expect((await take(control, 'node-2')).cutoffs).toEqual([]);
  await tokens.mint({ service: 'github', allow: ['GET /a'] });
  await releases.promote({ ...NO_WAIT });
  expect(ConnectError.from(await errorOf(services.get({ name: 'github' }))).code).toBe(Code.NotFound);

  await services.create({ service: { name: 'new', upstream }, ...one, ...NO_WAIT });
  expect((await takeAll(control)).map((held) => held.services.has('new'))).toEqual([true, false, false]);
  expect(ConnectError.from(await errorOf(tokens.mint({ service: 'new', allow: ['GET /a'] }))).code).toBe(Code.NotFound);
  await releases.promote({ ...NO_WAIT });
  expect((await takeAll(control)).map((held) => held.services.has('new'))).toEqual([true, true, true]);
  await tokens.mint({ service: 'new', allow: ['GET /a'] });
  await close(scene);
});

test('the name of a service that is new on some nodes is not given to another pool: tokens for the one would be good for the other', async () => {
  const scene = await begin();
  const { control } = scene;
  const { services, releases } = control.admin;
  await services.create({ service: { name: 'new', upstream }, ...one, ...NO_WAIT });
  const elsewhere = { service: { name: 'new', pool: 'other', upstream }, ...NO_WAIT };
  expect(ConnectError.from(await errorOf(services.create(elsewhere))).code).toBe(Code.AlreadyExists);
  await releases.takeBack({ ...NO_WAIT });
  await services.create(elsewhere);
  await close(scene);
});

test('a canary that was begun on what was changed since, by a release that knows of none, overwrites nothing', async () => {
  const scene = await begin();
  const { control, home } = scene;
  await control.admin.services.update({ ...shorter, ...one });
  const store = await openStore({ url: `sqlite:${join(home.path, 'control', 'daypass.db')}` });
  await store.transact(async (tx) => {
    const row = await tx.services.get('github');
    if (row === undefined) throw new Error('no service');
    await tx.services.replace({ ...row, description: 'changed', etag: 'another' });
  });
  await store.close();
  const refused = ConnectError.from(await errorOf(control.admin.releases.promote({ ...NO_WAIT })));
  expect(refused.code).toBe(Code.FailedPrecondition);
  expect((await control.admin.services.get({ name: 'github' })).service?.description).toBe('changed');
  await control.admin.releases.takeBack({ ...NO_WAIT });
  await close(scene);
});

test.each([
  ['neither a number nor names', {}, Code.InvalidArgument],
  ['both', { count: 1, nodes: ['node-1'] }, Code.InvalidArgument],
  ['all nodes', { count: 3 }, Code.FailedPrecondition],
  ['more than there are', { count: 9 }, Code.FailedPrecondition],
  ['a node of another pool', { nodes: ['node-4'] }, Code.FailedPrecondition],
  ['a node that is not there', { nodes: ['node-9'] }, Code.FailedPrecondition],
])('a canary on %s is refused', async (_what, canary, code) => {
  const scene = await begin();
  expect(ConnectError.from(await errorOf(scene.control.admin.services.update({ ...shorter, canary }))).code).toBe(code);
  expect(await canaryOf(scene.control)).toBeUndefined();
  await close(scene);
});

test('only an admin may have some nodes decide otherwise', async () => {
  const scene = await begin();
  const { control } = scene;
  const { apiKey } = await control.admin.callers.create({
    caller: { name: 'bot', services: ['github'], editsScopes: true },
  });
  const bot = control.client(ServiceRegistry, apiKey);
  const asked = { service: 'github', scope: 'a', rules: { rules: ['GET /a'] }, ...one };
  expect(ConnectError.from(await errorOf(bot.setScope(asked))).code).toBe(Code.PermissionDenied);
  await close(scene);
});

/** Records requests of a node for the service, so many of them refused, all in one batch. */
const record = async (
  control: Running,
  name: string,
  requests: number,
  bad: number,
  node = createNode(control, name),
) => {
  const version = await versionOf(control, name);
  const time = Date.now();
  const common = { time, service: 'github', snapshot_version: version };
  const refused = { result: 'refused' as const, reason: 'scope_refused', rule: '' };
  const records = Array.from({ length: requests }, (_, at) => {
    const id = `${name}-${version}-${at}`;
    return at < bad
      ? [decision(id, { ...common, ...refused }), outcome(id, { result: 'refused', status: 403 })]
      : [decision(id, common), outcome(id)];
  });
  await node.send(...records.flat());
  return node;
};

test('it takes itself back when its nodes refuse what they did not before and others do not', async () => {
  const scene = await begin();
  const { control } = scene;
  const node = await record(control, 'node-1', 25, 1);
  await control.admin.services.update({ ...shorter, ...one });
  await record(control, 'node-2', 25, 0);
  await record(control, 'node-1', 25, 12, node);
  const canary = await endOf(control);
  expect(canary).toMatchObject({
    ending: 'taken_back',
    // It may be looked at before the last of them are there.
    why: expect.stringMatching(/^12 of 2\d requests/),
    before: { requests: 25n, bad: 1n },
    during: { bad: 12n },
  });
  expect(await ttlOf(control, 'node-1')).toBe(86_400);
  const { events } = await control.admin.audit.query({ filter: { kind: AuditKind.CHANGE }, pageSize: 1 });
  expect(events[0]).toMatchObject({ method: 'ReleaseService/TakeBack', caller: '', path: 'services/github' });
  expect(events[0]?.reason).toContain('12 of 25');
  await close(scene);
});

test('it takes itself back when one of its nodes refuses the snapshot, which goes on with what it had', async () => {
  const scene = await begin();
  const { control } = scene;
  const before = await take(control, 'node-1');
  const { rollout } = await control.admin.services.update({ ...shorter, ...one });
  await control.asNode('node-1').snapshots.report({
    ...{ node: 'node-1', version: BigInt(before.manifest.version), digest: before.digest },
    ...{ leaseExpiresAt: { seconds: BigInt(before.manifest.expires_at) } },
    ...{ refusedVersion: rollout?.version ?? 0n, nackCode: 'snapshot_inconsistent', nackMessage: 'no' },
  });
  expect(await endOf(control)).toMatchObject({
    ending: 'taken_back',
    why: 'node-1 refused the snapshot: snapshot_inconsistent',
  });
  await close(scene);
});

test('it is promoted by itself where that was asked for, and not before its nodes have it', async () => {
  const scene = await begin();
  const { control } = scene;
  const { services } = control.admin;
  await services.update({ ...shorter, canary: { count: 1, promoteAfter: { seconds: 1n } } });
  const started = await canaryOf(control);
  await until(() => Date.now() > Number(started?.promoteTime?.seconds ?? 0n) * 1000 + 2500);
  expect((await canaryOf(control))?.endTime).toBeUndefined();
  await take(control, 'node-1');
  expect(await endOf(control)).toMatchObject({ ending: 'promoted', why: 'promote_after' });
  expect((await services.get({ name: 'github' })).service?.maxTtl?.seconds).toBe(3600n);
  await close(scene);
});

test('a control plane that is started again, and another beside it, go on with it', async () => {
  const scene = await begin();
  await scene.control.admin.services.update({ ...shorter, ...one });
  await scene.control.app.close();
  const { control } = await begin({ home: scene.home });
  const beside = (await begin({ home: scene.home })).control;
  for (const running of [control, beside]) {
    expect([await ttlOf(running, 'node-1'), await ttlOf(running, 'node-2')]).toEqual([3600, 86_400]);
  }
  const { jti } = await control.admin.tokens.mint({ service: 'github', allow: ['GET /a'] });
  await control.admin.tokens.revoke({ target: { case: 'jti', value: jti }, ...NO_WAIT });
  const has = { version: BigInt(await versionOf(control, 'node-1')), digest: '0'.repeat(64) };
  // The one beside has not heard of it: it is behind the node, and catches up rather than send what is older.
  const next = await beside.asNode('node-1').snapshots.get(has);
  const manifest = next.snapshot === undefined ? undefined : parseManifest(next.snapshot.manifest);
  expect([manifest?.version, manifest?.nodes]).toEqual([Number(has.version), ['node-1']]);
  await beside.admin.releases.promote({ ...NO_WAIT });
  expect(await ttlOf(beside, 'node-2')).toBe(3600);
  await beside.app.close();
  await close({ control, home: scene.home });
});

test('what is sealed to a key that the pool has no more is not promoted, and by itself taken back', async () => {
  const scene = await begin();
  const { home } = scene;
  const sealedCredential = await sealFor(home, 'github');
  const sealed = {
    name: 'github',
    upstream,
    place: { kind: CredentialPlace_Kind.BEARER },
    sealedCredential,
    credentialId: '0123456789abcdef0123456789abcdef',
  };
  const updateMask = { paths: ['place', 'sealed_credential', 'credential_id'] };
  const canary = { count: 1, promoteAfter: { seconds: 1n } };
  await scene.control.admin.services.update({ service: sealed, updateMask, canary, ...NO_WAIT });
  await scene.control.app.close();
  await writeFile(controlPaths(home.path).sealingKeys, '{"default":[],"other":[]}');
  const { control } = await begin({ home });
  expect(ConnectError.from(await errorOf(control.admin.releases.promote({}))).code).toBe(Code.InvalidArgument);
  await take(control, 'node-1');
  expect(await endOf(control)).toMatchObject({
    ending: 'taken_back',
    why: expect.stringContaining('could not be promoted'),
  });
  await close({ control, home });
});
