// Exchange (RFC 8693): what a narrower token says, what is refused as wider, and that it ends with what it came from.
import { randomUUID } from 'node:crypto';
import { inflateSync } from 'node:zlib';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { ConnectError } from '@connectrpc/connect';
import { decodeBase64url } from '@daypass/core/base64url';
import { generateSigningKey, importEd25519 } from '@daypass/core/key';
import { signNodeAssertion } from '@daypass/core/node-auth';
import { getBit } from '@daypass/core/status';
import { readToken, readUnverifiedClaims, signToken } from '@daypass/core/token';
import type { CallerSchema } from '@daypass/sdk/gen/daypass/v1/caller_pb';
import { SnapshotService } from '@daypass/sdk/gen/daypass/v1/snapshot_pb';
import { type ExchangeRequestSchema, type MintRequestSchema, TokenService } from '@daypass/sdk/gen/daypass/v1/token_pb';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { errorOf, type Running, sealFor, startControl } from './fixture.ts';

type ExchangeInit = Omit<MessageInitShape<typeof ExchangeRequestSchema>, '$typeName'>;
type MintInit = Omit<MessageInitShape<typeof MintRequestSchema>, '$typeName'>;
type CallerInit = Omit<MessageInitShape<typeof CallerSchema>, '$typeName'>;

const upstream = 'https://api.example.com';
const NO_WAIT = { seconds: 0n };
const JKT = 'NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs';
const OTHER_JKT = '0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I';

let control: Running;
beforeAll(async () => {
  control = await startControl();
  await setUp(control);
});
afterAll(async () => {
  await control[Symbol.asyncDispose]();
});

const setUp = async ({ admin }: Running): Promise<void> => {
  const scopes = { triage: { rules: ['GET /issues'] }, other: { rules: ['GET /other'] } };
  const operations = [{ id: 'labels/add', rule: 'POST /repos/{owner}/labels', summary: '' }];
  await admin.services.create({ service: { name: 'plain', upstream, scopes, operations } });
  await admin.services.create({ service: { name: 'later', upstream } });
};

let made = 0;
const makeCaller = async (caller: CallerInit = {}, own: Running = control) => {
  const name = `c${++made}`;
  const { apiKey } = await own.admin.callers.create({ caller: { services: ['plain'], ...caller, name } });
  return { name, tokens: own.client(TokenService, apiKey) };
};

type Tokens = Running['admin']['tokens'];
const mint = async (tokens: Tokens, request: MintInit = {}): Promise<string> =>
  (await tokens.mint({ service: 'plain', allow: ['GET /a/**', 'POST /b'], ...request })).token;
const exchange = async (tokens: Tokens, subjectToken: string, request: ExchangeInit = {}): Promise<string> =>
  (await tokens.exchange({ ...request, subjectToken })).token;
const claimsOf = (token: string) => readUnverifiedClaims(readToken(token));

const refusalOf = async (work: Promise<unknown>) => {
  const error = ConnectError.from(await errorOf(work));
  return [error.metadata.get('daypass-error-code'), error.metadata.get('daypass-error-field')];
};

test('an exchanged token keeps subject, caller and service, names its parent and its actor, and is narrower', async () => {
  const { name, tokens } = await makeCaller();
  const parent = claimsOf(await mint(tokens, { client: 'agent', subject: 'ann' }));
  const text = await mint(tokens, { client: 'agent', subject: 'ann' });
  const first = claimsOf(text);
  const answer = await tokens.exchange({
    subjectToken: text,
    allow: ['GET /a/b'],
    ttl: { seconds: 60n },
    client: 'tool',
  });
  const child = claimsOf(answer.token);
  expect(child).toMatchObject({
    sub: 'ann',
    client_id: 'tool',
    caller: name,
    service: 'plain',
    jti: answer.jti,
    allowed: ['GET /a/b'],
    act: { sub: 'tool' },
    parents: [{ jti: first.jti, client_id: 'agent', sub: 'ann', iat: first.iat, status: first.status }],
  });
  expect(child.jti).not.toBe(parent.jti);
  expect(Math.round(child.exp - child.iat)).toBe(60);
  expect(child.iat).toBeGreaterThanOrEqual(first.iat);
  const { token } = await tokens.introspect({ token: answer.token });
  expect(token).toMatchObject({
    jti: child.jti,
    parents: [first.jti],
    actors: ['tool'],
    client: 'tool',
    subject: 'ann',
  });
  const { events } = await control.admin.audit.query({ filter: { kind: 2, jti: child.jti } });
  expect(events).toMatchObject([
    {
      method: 'TokenService/Exchange',
      path: `tokens/${first.jti}/exchange`,
      caller: name,
      principal: 'ann',
      client: 'tool',
    },
  ]);
});

test('by default a child allows all of its parent, for 15 minutes or the rest of it, under the name of the caller', async () => {
  const { name, tokens } = await makeCaller();
  const parent = await mint(tokens, { ttl: { seconds: 7200n }, client: 'x' });
  const child = claimsOf(await exchange(tokens, parent));
  expect([child.allowed, child.client_id, child.act]).toEqual([claimsOf(parent).allowed, name, { sub: name }]);
  expect(Math.round(child.exp - child.iat)).toBe(900);
  const short = await mint(tokens, { ttl: { seconds: 30n } });
  expect(claimsOf(await exchange(tokens, short)).exp).toBeLessThanOrEqual(claimsOf(short).exp);
});

// RFC 8693 §4.1: "the outermost act claim represents the current actor"; those within are earlier ones.
test('actors nest with the latest outermost, and parents stand with the nearest first', async () => {
  const { tokens } = await makeCaller();
  const first = await mint(tokens, { client: 'user-agent', subject: 'ann' });
  const second = await exchange(tokens, first, { client: 'orchestrator' });
  const third = await exchange(tokens, second, { client: 'researcher' });
  const fourth = claimsOf(await exchange(tokens, third, { client: 'summarizer' }));
  expect(claimsOf(first).act).toBeUndefined();
  expect(claimsOf(second).act).toEqual({ sub: 'orchestrator' });
  expect(claimsOf(third).act).toEqual({ sub: 'researcher', act: { sub: 'orchestrator' } });
  expect(fourth.act).toEqual({ sub: 'summarizer', act: { sub: 'researcher', act: { sub: 'orchestrator' } } });
  expect(fourth.parents?.map(({ jti }) => jti)).toEqual([third, second, first].map((token) => claimsOf(token).jti));
});

test('an operation is spelt out before it is compared', async () => {
  const { tokens } = await makeCaller();
  const parent = await mint(tokens, { allow: ['POST /repos/acme/**', 'POST /repos/{o}/labels where path.o = "beta"'] });
  const child = await exchange(tokens, parent, { allow: ['op:labels/add where path.owner = "beta"'] });
  expect(claimsOf(child).allowed).toEqual(['POST /repos/{owner}/labels where path.owner = "beta"']);
  expect(await refusalOf(exchange(tokens, parent, { allow: ['op:labels/add'] }))).toEqual([
    'permission_denied',
    'allow[0]',
  ]);
});

const wider: readonly (readonly [string, string[], string[], string])[] = [
  ['another path', ['GET /a'], ['GET /b'], 'allow[0]'],
  ['another method', ['GET /a'], ['GET /a', 'POST /a'], 'allow[1]'],
  ['every method', ['GET /a'], ['* /a'], 'allow[0]'],
  ['a deeper glob', ['GET /a/*'], ['GET /a/**'], 'allow[0]'],
  ['everything', ['GET /a/**'], ['* /**'], 'allow[0]'],
  ['a condition dropped', ['GET /a where query.q = 1'], ['GET /a'], 'allow[0]'],
  ['a named scope that is not named', ['GET /**'], ['scope:triage'], 'allow[0]'],
  ['another named scope', ['scope:triage'], ['scope:triage', 'scope:other'], 'allow[1]'],
  ['the rules of a named scope', ['scope:triage'], ['GET /issues'], 'allow[0]'],
  ['a union', ['GET /a where query.n < 5', 'GET /a where query.n >= 5'], ['GET /a where query.n > 0'], 'allow[0]'],
];
test.each(
  wider,
)('Exchange refuses %s, as Mint does above a ceiling, and says so in the audit', async (_name, has, asks, field) => {
  const { name, tokens } = await makeCaller();
  const parent = await mint(tokens, { allow: has });
  const error = ConnectError.from(await errorOf(exchange(tokens, parent, { allow: asks })));
  expect([error.metadata.get('daypass-error-code'), error.metadata.get('daypass-error-field')]).toEqual([
    'permission_denied',
    field,
  ]);
  expect(error.rawMessage).toContain('goes beyond the token');
  expect((await tokens.list({})).tokens).toHaveLength(1);
  const { events } = await control.admin.audit.query({ filter: { kind: 2, outcome: 2 }, pageSize: 1 });
  const { jti } = claimsOf(parent);
  expect(events[0]).toMatchObject({ caller: name, jti, reason: 'permission_denied', path: `tokens/${jti}/exchange` });
});

test('narrowed once, a token cannot be widened again to what its grandparent allowed', async () => {
  const { tokens } = await makeCaller();
  const grand = await mint(tokens, { allow: ['GET /a/**'], ttl: { seconds: 3600n } });
  const narrow = await exchange(tokens, grand, { allow: ['GET /a/b'], ttl: { seconds: 60n } });
  expect(await refusalOf(exchange(tokens, narrow, { allow: ['GET /a/**'] }))).toEqual([
    'permission_denied',
    'allow[0]',
  ]);
  expect(await refusalOf(exchange(tokens, narrow, { ttl: { seconds: 600n } }))).toEqual(['permission_denied', 'ttl']);
  expect(claimsOf(await exchange(tokens, narrow)).exp).toBeLessThanOrEqual(claimsOf(narrow).exp);
});

test('the bounds of the caller that exchanges hold beside those of the token', async () => {
  const owner = await makeCaller();
  const parent = await mint(owner.tokens, { client: 'agent', subject: 'ann', ttl: { seconds: 7200n } });
  const bounded = async (caller: CallerInit, request: ExchangeInit = {}) => {
    const { tokens } = await makeCaller(caller);
    return refusalOf(exchange(tokens, parent, request));
  };
  const denied = (field: string) => ['permission_denied', field];
  const ceilings = { plain: { rules: ['GET /a/**'] } };
  // All of the parent is asked, and that is beyond the ceiling.
  expect(await bounded({ ceilings })).toEqual(denied('allow'));
  expect(await bounded({ ceilings }, { allow: ['GET /a/b', 'POST /b'] })).toEqual(denied('allow[1]'));
  expect(await bounded({ maxTtl: { seconds: 60n } }, { ttl: { seconds: 61n } })).toEqual(denied('ttl'));
  expect(await bounded({ clients: { labels: ['tool'] } }, { client: 'other' })).toEqual(denied('client'));
  expect(await bounded({ clients: { labels: ['tool'] } }, { client: 'tool' })).toEqual(denied('subject_token'));
  expect(await bounded({ services: ['later'] })).toEqual(denied('subject_token'));
  const allowed = await makeCaller({ ceilings, clients: { labels: ['tool'] }, subjects: { subjects: ['ann'] } });
  const child = claimsOf(await exchange(allowed.tokens, parent, { allow: ['GET /a/b'], client: 'tool' }));
  // Seals and cut-offs go by the caller that minted the first one.
  expect([child.caller, child.client_id, child.sub]).toEqual([owner.name, 'tool', 'ann']);
});

test('a child belongs to the caller of its parent, and is unknown to the one that exchanged', async () => {
  const [owner, agent] = [await makeCaller(), await makeCaller()];
  const child = await exchange(agent.tokens, await mint(owner.tokens));
  const { jti } = claimsOf(child);
  expect(await agent.tokens.introspect({ token: child })).toMatchObject({ active: false, reason: 'not_found' });
  expect(await refusalOf(agent.tokens.revoke({ target: { case: 'jti', value: jti } }))).toEqual(['not_found', 'jti']);
  expect((await owner.tokens.list({})).tokens.map((token) => token.jti)).toContain(jti);
  await owner.tokens.revoke({ target: { case: 'jti', value: jti }, wait: NO_WAIT });
  expect(await control.admin.tokens.introspect({ token: child })).toMatchObject({ reason: 'token_revoked' });
});

test('a token is exchanged eight times at most', async () => {
  const { tokens } = await makeCaller();
  let token = await mint(tokens, { allow: ['GET /a'] });
  for (let i = 1; i <= 8; i += 1) token = await exchange(tokens, token, { client: `actor-${i}` });
  expect(claimsOf(token).parents).toHaveLength(8);
  expect((await tokens.introspect({ token })).token?.actors).toEqual([8, 7, 6, 5, 4, 3, 2, 1].map((i) => `actor-${i}`));
  expect(await refusalOf(exchange(tokens, token))).toEqual(['failed_precondition', 'subject_token']);
});

test('what is bound to a key stays bound to it, and what is not can be', async () => {
  const { tokens } = await makeCaller();
  const bound = await mint(tokens, { dpopJkt: JKT });
  const jktOf = async (parent: string, dpopJkt: string) =>
    claimsOf(await exchange(tokens, parent, { dpopJkt })).cnf?.jkt;
  expect(await jktOf(bound, '')).toBe(JKT);
  expect(await jktOf(bound, JKT)).toBe(JKT);
  expect(await refusalOf(jktOf(bound, OTHER_JKT))).toEqual(['permission_denied', 'dpop_jkt']);
  const bearer = await mint(tokens);
  expect(await jktOf(bearer, '')).toBeUndefined();
  const child = await exchange(tokens, bearer, { dpopJkt: OTHER_JKT });
  expect(await jktOf(child, '')).toBe(OTHER_JKT);
  expect(await refusalOf(jktOf(child, JKT))).toEqual(['permission_denied', 'dpop_jkt']);
  expect(await refusalOf(jktOf(bearer, 'x'))).toEqual(['invalid_argument', 'dpop_jkt']);
});

test('the credential in a token is in its child as well', async () => {
  await using own = await startControl();
  await own.admin.services.create({ service: { name: 'plain', upstream, place: { kind: 1 } } });
  const sealedCredential = await sealFor(own.home, 'plain');
  const parent = await mint(own.admin.tokens, { sealedCredential });
  expect(claimsOf(await exchange(own.admin.tokens, parent)).credential).toBe(sealedCredential);
});

test('Exchange refuses a token that is not good, with the reason', async () => {
  const { name, tokens } = await makeCaller();
  const stranger = await generateSigningKey();
  const key = await importEd25519(stranger.privateJwk, 'sign');
  const token = await mint(tokens);
  const foreign = await signToken(claimsOf(token), { kid: stranger.kid, key });
  const revoked = await mint(tokens);
  const child = await exchange(tokens, revoked);
  await tokens.revoke({ target: { case: 'jti', value: claimsOf(revoked).jti }, wait: NO_WAIT });
  const cut = await mint(tokens, { client: 'cut' });
  const ofCut = await exchange(tokens, cut, { client: 'spared' });
  await tokens.revoke({ target: { case: 'cutOff', value: { caller: name, client: 'cut' } }, wait: NO_WAIT });
  for (const [text, reason] of [
    ['x', 'token_malformed'],
    [foreign, 'token_key_unknown'],
    [revoked, 'token_revoked'],
    [child, 'token_revoked'],
    [cut, 'token_revoked'],
    [ofCut, 'token_revoked'],
  ] as const) {
    const error = ConnectError.from(await errorOf(exchange(tokens, text)));
    expect([error.metadata.get('daypass-error-code'), error.metadata.get('daypass-error-field')]).toEqual([
      'invalid_argument',
      'subject_token',
    ]);
    expect(error.rawMessage).toContain(`(${reason})`);
  }
  // What this control plane never signed says nothing that could be written down.
  const { events } = await control.admin.audit.query({ filter: { kind: 2, outcome: 2 }, pageSize: 4 });
  expect(events.map(({ method, caller, jti, reason }) => [method, caller, jti, reason])).toEqual(
    [ofCut, cut, child, revoked].map((text) => ['TokenService/Exchange', name, claimsOf(text).jti, 'token_revoked']),
  );
});

test('Exchange refuses a token that has ended, or is of no use before it does', async () => {
  let offset = 0;
  await using own = await startControl({ now: () => Date.now() + offset });
  await setUp(own);
  const token = await mint(own.admin.tokens, { ttl: { seconds: 60n } });
  for (offset of [59_500, 62_000, 70_000]) {
    const error = ConnectError.from(await errorOf(exchange(own.admin.tokens, token)));
    expect(error.rawMessage).toContain('(token_expired)');
  }
});

test('Exchange refuses a token of a service that is gone, or that is closed to one of its labels', async () => {
  await using own = await startControl();
  await setUp(own);
  const { tokens, services } = own.admin;
  const parent = await mint(tokens, { client: 'a' });
  const child = await exchange(tokens, parent, { client: 'b' });
  const closeTo = (labels: string[]) =>
    services.update({ service: { name: 'plain', clients: { labels } }, updateMask: { paths: ['clients'] } });
  await closeTo(['a', 'b']);
  expect(await refusalOf(exchange(tokens, parent, { client: 'c' }))).toEqual(['client_refused', 'client']);
  // The child's own label is open, but not the one of its parent.
  await closeTo(['b']);
  for (const token of [parent, child]) {
    expect(await tokens.introspect({ token })).toMatchObject({ active: false, reason: 'client_refused' });
    const error = ConnectError.from(await errorOf(exchange(tokens, token, { client: 'b' })));
    expect(error.rawMessage).toContain('(client_refused)');
  }
  await services.delete({ name: 'plain' });
  const gone = ConnectError.from(await errorOf(exchange(tokens, parent)));
  expect(gone.rawMessage).toContain('(service_unknown)');
  await services.create({ service: { name: 'plain', upstream } });
  const back = ConnectError.from(await errorOf(exchange(tokens, parent)));
  expect(back.rawMessage).toContain('(token_revoked)');
});

test('nothing is exchanged by, or of, a caller that was deleted, also when its name comes back', async () => {
  await using own = await startControl();
  await setUp(own);
  const [owner, agent] = [await makeCaller({}, own), await makeCaller({}, own)];
  const parent = await mint(owner.tokens);
  await own.admin.callers.delete({ name: agent.name });
  const error = ConnectError.from(await errorOf(exchange(agent.tokens, parent)));
  expect(error.metadata.get('daypass-error-code')).toBe('unauthenticated');
  const child = await exchange(owner.tokens, parent);
  await own.admin.callers.delete({ name: owner.name });
  await own.admin.callers.create({ caller: { name: owner.name, services: ['plain'] } });
  for (const token of [parent, child]) {
    expect(await refusalOf(exchange(own.admin.tokens, token))).toEqual(['invalid_argument', 'subject_token']);
  }
});

const ends: readonly (readonly [string, (tokens: Tokens, parent: string, caller: string) => Promise<unknown>])[] = [
  ['its id', (tokens, parent) => tokens.revoke({ target: { case: 'jti', value: claimsOf(parent).jti } })],
  ['its text', (tokens, parent) => tokens.revoke({ target: { case: 'token', value: parent } })],
  ['its label', (tokens) => tokens.revoke({ target: { case: 'cutOff', value: { client: 'agent' } } })],
  ['its subject', (tokens) => tokens.revoke({ target: { case: 'cutOff', value: { subject: 'ann' } } })],
  ['its caller', (tokens, _, caller) => tokens.revoke({ target: { case: 'cutOff', value: { caller } } })],
  ['its service', (tokens) => tokens.revoke({ target: { case: 'cutOff', value: { service: 'plain' } } })],
];
test.each(
  ends,
)('revoking a token by %s ends what came of it: Introspect, Exchange and List say the same', async (_, end) => {
  await using own = await startControl();
  await setUp(own);
  const { name, tokens } = await makeCaller({}, own);
  const parent = await mint(tokens, { client: 'agent', subject: 'ann' });
  const child = await exchange(tokens, parent, { client: 'one' });
  const grandchild = await exchange(tokens, child, { client: 'two' });
  const active = async () => new Set((await tokens.list({ activeOnly: true })).tokens.map(({ jti }) => jti));
  expect((await active()).size).toBe(3);
  await end(own.admin.tokens, parent, name);
  const other = await mint(tokens, { client: 'agent', subject: 'ann' });
  for (const token of [parent, child, grandchild]) {
    expect(await tokens.introspect({ token })).toMatchObject({ active: false, reason: 'token_revoked' });
    expect(await refusalOf(exchange(tokens, token))).toEqual(['invalid_argument', 'subject_token']);
  }
  expect(await active()).toEqual(new Set([claimsOf(other).jti]));
});

test('revoking a child leaves its parent and its siblings', async () => {
  const { tokens } = await makeCaller();
  const parent = await mint(tokens);
  const [child, sibling] = [await exchange(tokens, parent), await exchange(tokens, parent)];
  await tokens.revoke({ target: { case: 'token', value: child }, wait: NO_WAIT });
  const answers = await Promise.all([parent, child, sibling].map((token) => tokens.introspect({ token })));
  expect(answers.map(({ active }) => active)).toEqual([true, false, true]);
});

test('a token exchanged in the very millisecond of a cut-off is a later one', async () => {
  const at = Date.now();
  await using own = await startControl({ now: () => at });
  await setUp(own);
  const { tokens } = own.admin;
  const cut = () => tokens.revoke({ target: { case: 'cutOff', value: { client: 'tool' } }, wait: NO_WAIT });
  const before = await exchange(tokens, await mint(tokens), { client: 'tool' });
  await cut();
  const after = await exchange(tokens, await mint(tokens), { client: 'tool' });
  expect(await tokens.introspect({ token: before })).toMatchObject({ active: false });
  expect(await tokens.introspect({ token: after })).toMatchObject({ active: true });
  // Pushed on by a millisecond, it still does not outlive its parent.
  const parent = await mint(tokens, { ttl: { seconds: 5n } });
  expect(claimsOf(await exchange(tokens, parent, { client: 'tool' })).exp).toBe(claimsOf(parent).exp);
});

/** A node whose clock is ahead as well. */
const nodeAt = async ({ home }: Running, offset: number): Promise<string> => {
  const key = home.nodes.get('node-1');
  if (key === undefined) throw new Error('no node');
  const now = (Date.now() + offset) / 1000;
  return signNodeAssertion({ node: 'node-1', fleet: home.fleet, now, jti: randomUUID() }, key);
};

test('the mark of a revoked parent stays in the status list until no child can be alive', async () => {
  let offset = 0;
  await using own = await startControl({ now: () => Date.now() + offset });
  await setUp(own);
  const parent = await mint(own.admin.tokens, { ttl: { seconds: 60n } });
  const child = claimsOf(await exchange(own.admin.tokens, parent));
  const { jti, status } = claimsOf(parent);
  await own.admin.tokens.revoke({ target: { case: 'jti', value: jti }, wait: NO_WAIT });
  const isMarked = async (): Promise<boolean> => {
    // Any change makes a snapshot.
    await own.admin.tokens.revoke({ target: { case: 'cutOff', value: { client: `x${offset}` } }, wait: NO_WAIT });
    const { snapshot } = await own.client(SnapshotService, await nodeAt(own, offset)).get({});
    const content = snapshot?.entries.find(({ kind }) => kind === 'status')?.content;
    if (content === undefined) return false;
    const { lst } = JSON.parse(new TextDecoder().decode(content)) as { lst: string };
    return getBit(inflateSync(decodeBase64url(lst)), status.status_list.idx) === true;
  };
  expect(await isMarked()).toBe(true);
  // 5 s of clock difference are forgiven.
  offset = child.exp * 1000 + 5000 - Date.now();
  expect(await isMarked()).toBe(true);
  // A control plane may be a minute ahead.
  offset += 120_000;
  expect(await isMarked()).toBe(false);
});
