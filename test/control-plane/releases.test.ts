// What was published, and what a change would do to recorded requests before it is.
import { createHash } from 'node:crypto';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import type { DecisionRecord } from '@daypass/core/audit';
import { verifySnapshot } from '@daypass/core/snapshot';
import {
  type ReplayedDecision,
  type TestRequestSchema,
  type TestSummary,
  ReplayedDecision_Verdict as Verdict,
} from '@daypass/sdk/gen/daypass/v1/release_pb';
import { expect, test } from 'vitest';
import { errorOf, type Running, startControl } from './fixture.ts';
import { createNode, decision, outcome } from './recording-node.ts';

const upstream = 'https://api.example.com';
const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest();
const NAMES = new Map<Verdict, string>([
  [Verdict.REFUSED, 'REFUSED'],
  [Verdict.ALLOWED, 'ALLOWED'],
  [Verdict.UNKNOWN, 'UNKNOWN'],
]);
const NO_WAIT = { wait: { seconds: 0n } };

const play = async (control: Running, request: MessageInitShape<typeof TestRequestSchema>) => {
  const decisions: ReplayedDecision[] = [];
  let summary: TestSummary | undefined;
  for await (const { event } of control.admin.releases.test(request)) {
    if (event.case === 'decision') decisions.push(event.value);
    if (event.case === 'summary') summary = event.value;
  }
  if (summary === undefined) throw new Error('no summary');
  const found = decisions.map(({ verdict, decisionId, code }) => `${decisionId} ${NAMES.get(verdict)} ${code}`.trim());
  const { replayed, unchanged, refused, allowed, unknown, cut, unseenFields } = summary;
  return { decisions, found, counts: { replayed, unchanged, refused, allowed, unknown }, cut, unseenFields };
};

type Recorded = Partial<DecisionRecord> & { readonly id: string };

/** Records requests of now; those without a rule were refused by their rules. */
const record = async (node: ReturnType<typeof createNode>, ...requests: readonly Recorded[]) => {
  const time = Date.now();
  for (const { id, ...request } of requests) {
    const rule = request.rule ?? '';
    const what = rule === '' ? { result: 'refused' as const, reason: 'scope_refused' } : {};
    await node.send(
      decision(id, { time, rule, ...what, ...request }),
      ...(rule === '' ? [] : [outcome(id, { time: time + 1 })]),
    );
  }
};

/** A service with named scopes, tokens for it, and the node that records. */
const scene = async () => {
  const control = await startControl();
  const { services, tokens } = control.admin;
  await services.create({
    service: {
      name: 'github',
      upstream,
      scopes: {
        read: { rules: ['GET /issues', 'GET /pulls'] },
        search: { rules: ['GET /search where query.q = "a"'] },
      },
    },
    ...NO_WAIT,
  });
  const mint = async (allow: string[], ttl = 600n, client = 'ci') =>
    (await tokens.mint({ service: 'github', allow, client, ttl: { seconds: ttl } })).jti;
  return { control, mint, node: createNode(control) };
};

test('a longer list and a shorter one of a named scope change exactly the decisions that hang on it', async () => {
  const { control, mint, node } = await scene();
  await using _ = control;
  const scoped = await mint(['scope:read']);
  const own = await mint(['GET /issues', 'GET /pulls', 'scope:read']);
  await record(
    node,
    { id: 'issues', jti: scoped, path: '/issues', rule: 'scope:read' },
    { id: 'pulls', jti: scoped, path: '/pulls', rule: 'scope:read' },
    { id: 'own', jti: own, path: '/pulls', rule: 'GET /pulls' },
    { id: 'labels', jti: scoped, path: '/labels' },
    { id: 'post', jti: scoped, method: 'POST', path: '/issues' },
    { id: 'gone', jti: 'f'.repeat(32), path: '/issues', rule: 'scope:read' },
    { id: 'elsewhere', jti: scoped, service: 'other', path: '/pulls', rule: 'scope:read' },
  );
  const setScope = { service: 'github', scope: 'read', rules: { rules: ['GET /issues', 'GET /labels'] } };
  const { found, counts, decisions } = await play(control, { change: { case: 'setScope', value: setScope } });
  expect(found.sort()).toEqual(['gone UNKNOWN', 'labels ALLOWED scope_refused', 'pulls REFUSED scope_refused']);
  expect(counts).toEqual({ replayed: 6, unchanged: 3, refused: 1, allowed: 1, unknown: 1 });
  expect(decisions.find(({ decisionId }) => decisionId === 'pulls')).toMatchObject({
    node: 'node-1',
    service: 'github',
    jti: scoped,
    method: 'GET',
    path: '/pulls',
    rule: 'scope:read',
  });
  const { service } = await control.admin.services.get({ name: 'github' });
  expect(service?.scopes.read?.rules).toEqual(['GET /issues', 'GET /pulls']);
});

test('what a query, a header or a body decides cannot be told, but where the record or the rules settle it', async () => {
  const { control, mint, node } = await scene();
  await using _ = control;
  const jti = await mint(['scope:search']);
  await record(
    node,
    { id: 'found', jti, path: '/search', rule: 'scope:search' },
    { id: 'missed', jti, path: '/search' },
    { id: 'apart', jti, path: '/issues' },
  );
  const test = (rules: string[]) =>
    play(control, { change: { case: 'setScope', value: { service: 'github', scope: 'search', rules: { rules } } } });
  expect((await test(['GET /search where query.q = "b"'])).found).toEqual(['missed UNKNOWN', 'found UNKNOWN']);
  expect((await test(['GET /search'])).found).toEqual(['missed ALLOWED scope_refused']);
  expect((await test(['GET /other'])).found).toEqual(['found REFUSED scope_refused']);
  expect((await test(['GET /search where query.q = "a"', 'GET /issues where query.p = "1"'])).found).toEqual([
    'apart UNKNOWN',
  ]);
  expect((await test(['GET /search where query.q = "a"'])).counts).toMatchObject({ replayed: 3, unchanged: 3 });
});

test('other fields of a service: lifetime, clients, anonymity, encoded slashes, its end', async () => {
  const { control, mint, node } = await scene();
  await using _ = control;
  const [short, long] = [await mint(['GET /**'], 600n), await mint(['GET /**'], 7200n, 'night')];
  await record(
    node,
    { id: 'short', jti: short, path: '/a', rule: 'GET /**' },
    { id: 'long', jti: long, client: 'night', path: '/a', rule: 'GET /**' },
  );
  const update = (service: object, ...paths: string[]) =>
    play(control, {
      change: { case: 'update', value: { service: { name: 'github', upstream, ...service }, updateMask: { paths } } },
    });
  expect((await update({ maxTtl: { seconds: 3600n } }, 'max_ttl')).found).toEqual([
    'long REFUSED token_lifetime_refused',
  ]);
  expect((await update({ clients: { labels: ['ci'] } }, 'clients')).found).toEqual(['long REFUSED client_refused']);
  expect((await update({ anonymous: true }, 'anonymous')).counts).toMatchObject({ unchanged: 2 });
  const limited = await update({ limits: { perToken: { requests: 1, per: { seconds: 60n } } } }, 'limits');
  expect([limited.counts.unchanged, limited.unseenFields]).toEqual([2, ['limits.per_token']]);
  const gone = await play(control, { change: { case: 'delete', value: { name: 'github' } } });
  expect(gone.found).toEqual(['long REFUSED service_unknown', 'short REFUSED service_unknown']);

  await control.admin.services.update({
    service: { name: 'github', upstream, encodedSlashes: true },
    updateMask: { paths: ['encoded_slashes'] },
    ...NO_WAIT,
  });
  await record(node, { id: 'slash', jti: short, path: '/a%2Fb', rule: 'GET /**' });
  expect((await update({}, 'encoded_slashes')).found).toEqual(['slash REFUSED target_ambiguous']);
});

test('requests without a token, and counted refusals, are no tokens’', async () => {
  const { control, node } = await scene();
  await using _ = control;
  await control.admin.services.create({ service: { name: 'open', upstream, anonymous: true }, ...NO_WAIT });
  const nobody = { jti: '', client: '', principal: 'anonymous', service: 'open' };
  await node.send(
    decision('anyone', { ...nobody, time: Date.now(), rule: '' }),
    outcome('anyone'),
    decision('counted', {
      ...nobody,
      time: Date.now(),
      result: 'refused',
      reason: 'token_missing',
      method: '',
      path: '',
    }),
  );
  const value = { service: { name: 'open', upstream }, updateMask: { paths: ['anonymous'] } };
  const closed = await play(control, { change: { case: 'update', value } });
  expect([closed.found, closed.counts.replayed]).toEqual([['anyone REFUSED token_missing'], 1]);
});

test('the newest of the window are looked at, and it is said that there are more', async () => {
  const { control, mint, node } = await scene();
  await using _ = control;
  const jti = await mint(['GET /**']);
  const many = Array.from({ length: 5 }, (_, at) => ({ id: `d${at}`, jti, path: '/a', rule: 'GET /**' }));
  await record(node, ...many);
  const change = { case: 'delete' as const, value: { name: 'github' } };
  const three = await play(control, { change, maxRequests: 3 });
  expect([three.cut, three.found.map((text) => text.split(' ')[0])]).toEqual([true, ['d4', 'd3', 'd2']]);
  expect((await play(control, { change, maxRequests: 5 })).cut).toBe(false);
  await node.send(decision('old', { jti, time: Date.now() - 3_600_000 }), outcome('old'));
  expect((await play(control, { change, window: { seconds: 600n } })).counts.replayed).toBe(5);
  expect((await play(control, { change, window: { seconds: 7200n } })).counts.replayed).toBe(6);
});

test('a change that could not be made is refused as it would be, and nothing is published or written', async () => {
  const { control } = await scene();
  await using _ = control;
  const { snapshots: before } = await control.admin.releases.listSnapshots({});
  const wrong = { name: 'github', upstream: 'ftp://example.com' };
  const work = play(control, {
    change: { case: 'update', value: { service: wrong, updateMask: { paths: ['upstream'] } } },
  });
  expect(ConnectError.from(await errorOf(work)).code).toBe(Code.InvalidArgument);
  expect(ConnectError.from(await errorOf(play(control, {}))).code).toBe(Code.InvalidArgument);
  await play(control, { change: { case: 'create', value: { service: { name: 'new', upstream } } } });
  await play(control, { change: { case: 'delete', value: { name: 'github' } } });
  expect((await control.admin.services.list({})).services.map(({ name }) => name)).toEqual(['github']);
  const { snapshots: after } = await control.admin.releases.listSnapshots({});
  expect(after.map(({ version }) => version)).toEqual(before.map(({ version }) => version));
  await control.admin.services.create({ service: { name: 'new', upstream }, ...NO_WAIT });
  const { snapshots } = await control.admin.releases.listSnapshots({});
  expect(snapshots[0]).toMatchObject({ version: (before[0]?.version ?? 0n) + 1n, subject: 'services/new' });
});

test('the history says who changed what, and gives each version back as it was signed', async () => {
  const { control } = await scene();
  await using _ = control;
  const { services, releases } = control.admin;
  await services.setScope({ service: 'github', scope: 'read', ...NO_WAIT });
  await services.delete({ name: 'github', ...NO_WAIT });
  const { snapshots, nextPageToken } = await releases.listSnapshots({ pageSize: 2 });
  const changesOf = (at: number) => snapshots[at]?.changes.map((one) => ({ ...one, $typeName: undefined }));
  expect(snapshots.map(({ caller, method, subject }) => [caller, method, subject])).toEqual([
    ['admin', 'ServiceRegistry/Delete', 'services/github'],
    ['admin', 'ServiceRegistry/SetScope', 'services/github/scopes/read'],
  ]);
  expect(changesOf(0)).toMatchObject([
    { kind: 'scope', removed: 1 },
    { kind: 'service', removed: 1 },
  ]);
  expect(changesOf(1)).toMatchObject([{ kind: 'scope', removed: 1, added: 0, changed: 0 }]);
  const { snapshots: older } = await releases.listSnapshots({ pageSize: 2, pageToken: nextPageToken });
  expect(older[0]).toMatchObject({ method: 'ServiceRegistry/Create', subject: 'services/github' });

  const version = older[0]?.version ?? 0n;
  const parts = [];
  for await (const { snapshot } of releases.getSnapshot({ version })) if (snapshot !== undefined) parts.push(snapshot);
  const [first] = parts;
  if (first?.key === undefined) throw new Error('no key');
  const { manifest, signature, key } = first;
  const { home } = control;
  const trust = {
    root: home.root.publicJwk,
    fleet: home.fleet,
    pool: 'default',
    floor: 0,
    now: Date.now() / 1000,
    sha256,
  };
  const entries = parts.flatMap((part) => part.entries);
  const held = await verifySnapshot({ manifest, signature, key, entries }, trust);
  expect([held.manifest.version, [...held.scopes.keys()]]).toEqual([Number(version), ['github/read', 'github/search']]);

  const lost = async (request: object) => {
    for await (const _part of releases.getSnapshot(request));
  };
  expect(ConnectError.from(await errorOf(lost({ version: 9999n }))).code).toBe(Code.NotFound);
  expect(ConnectError.from(await errorOf(lost({ pool: 'nowhere' }))).code).toBe(Code.NotFound);
});

test('a large snapshot comes in parts of about a megabyte', async () => {
  const { control } = await scene();
  await using _ = control;
  const rules = Array.from({ length: 5000 }, (_, at) => `GET /${'a'.repeat(80)}/${at}`);
  for (const scope of ['one', 'two', 'three', 'four']) {
    await control.admin.services.setScope({ service: 'github', scope, rules: { rules }, ...NO_WAIT });
  }
  const parts = [];
  for await (const { snapshot } of control.admin.releases.getSnapshot({})) parts.push(snapshot);
  expect(parts.length).toBeGreaterThan(1);
  expect(parts.map((part) => (part?.manifest.length ?? 0) > 0)).toEqual([true, ...parts.slice(1).map(() => false)]);
  const names = parts.flatMap((part) => part?.entries.map(({ kind, name }) => `${kind}/${name}`) ?? []);
  expect(names).toEqual([...names].sort());
  expect(names).toEqual(expect.arrayContaining(['scope/github/one', 'scope/github/two', 'service/github']));
});
