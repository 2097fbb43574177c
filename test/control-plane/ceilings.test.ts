// What bounds a caller: its ceilings, labels and longest lifetime, how they are set, and what Mint refuses by them.
import type { MessageInitShape } from '@bufbuild/protobuf';
import { ConnectError } from '@connectrpc/connect';
import { readToken, readUnverifiedClaims } from '@daypass/core/token';
import { type CallerSchema, CallerService } from '@daypass/sdk/gen/daypass/v1/caller_pb';
import { type MintRequestSchema, TokenService } from '@daypass/sdk/gen/daypass/v1/token_pb';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { errorOf, type Running, startControl } from './fixture.ts';

type CallerInit = MessageInitShape<typeof CallerSchema>;
type MintInit = MessageInitShape<typeof MintRequestSchema>;

const upstream = 'https://api.example.com';
let control: Running;

beforeAll(async () => {
  control = await startControl();
  const { services } = control.admin;
  const operations = [{ id: 'labels/add', rule: 'POST /repos/{owner}/labels', summary: 'Add' }];
  const scopes = { triage: { rules: ['GET /issues'] }, other: { rules: ['GET /other'] } };
  await services.create({ service: { name: 'github', upstream, scopes, operations, maxTtl: { seconds: 7200n } } });
  await services.create({ service: { name: 'stripe', upstream } });
});
afterAll(async () => {
  await control[Symbol.asyncDispose]();
});

const refusalOf = async (work: Promise<unknown>) => {
  const error = ConnectError.from(await errorOf(work));
  return [error.metadata.get('daypass-error-code'), error.metadata.get('daypass-error-field')];
};

let made = 0;
const makeCaller = async (caller: Omit<CallerInit, '$typeName'>) => {
  const name = `c${++made}`;
  const { apiKey, ...response } = await control.admin.callers.create({
    caller: { services: ['github'], ...caller, name },
  });
  return { name, apiKey, tokens: control.client(TokenService, apiKey), ...response };
};
const within = (...rules: string[]): Omit<CallerInit, '$typeName'> => ({ ceilings: { github: { rules } } });

test('bounds come back from Create, Update, List and WhoAmI, in canonical form and with operations spelt out', async () => {
  const { name, apiKey, caller } = await makeCaller({
    ceilings: { github: { rules: ['POST,GET /a', 'op:labels/add where path.owner = "acme"', 'scope:triage'] } },
    maxTtl: { seconds: 3600n },
    clients: { labels: ['b', 'a', 'b'] },
    subjects: { subjects: ['ann'] },
    editsScopes: true,
  });
  const rules = ['GET,POST /a', 'POST /repos/{owner}/labels where path.owner = "acme"', 'scope:triage'];
  expect(caller).toMatchObject({
    name,
    ceilings: { github: { rules } },
    maxTtl: { seconds: 3600n },
    clients: { labels: ['b', 'a'] },
    subjects: { subjects: ['ann'] },
    editsScopes: true,
  });
  expect(caller?.etag).toMatch(/^[0-9a-f]{32}$/);
  expect((await control.client(CallerService, apiKey).whoAmI({})).caller).toEqual(caller);
  const { callers } = await control.admin.callers.list({});
  expect(callers.find((one) => one.name === name)).toEqual(caller);
  const changed = await control.admin.callers.update({
    caller: { name, maxTtl: { seconds: 60n } },
    updateMask: { paths: ['max_ttl'] },
  });
  expect(changed.caller).toEqual({ ...caller, maxTtl: changed.caller?.maxTtl, etag: changed.caller?.etag });
  expect([changed.caller?.maxTtl?.seconds, changed.caller?.etag === caller?.etag]).toEqual([60n, false]);
});

const wrong: readonly (readonly [string, Omit<CallerInit, '$typeName'>, string, string])[] = [
  [
    'a ceiling for none of its services',
    { ceilings: { stripe: { rules: [] } } },
    'invalid_argument',
    'caller.ceilings["stripe"]',
  ],
  ['a rule that is none', within('GET /a', 'nonsense'), 'invalid_rule', 'caller.ceilings["github"].rules[1]'],
  [
    'a named scope that is not there',
    within('scope:constructor'),
    'invalid_rule',
    'caller.ceilings["github"].rules[0]',
  ],
  ['an operation that is not there', within('op:labels/no'), 'invalid_rule', 'caller.ceilings["github"].rules[0]'],
  ['a service that is not there', { services: ['nowhere'], ceilings: {} }, 'not_found', 'caller.services[0]'],
  ['a lifetime with a fraction', { maxTtl: { seconds: 1n, nanos: 5 } }, 'invalid_argument', 'caller.max_ttl'],
  ['an empty label', { clients: { labels: ['a', ''] } }, 'invalid_argument', 'caller.clients.labels[1]'],
  ['an empty subject', { subjects: { subjects: [''] } }, 'invalid_argument', 'caller.subjects.subjects[0]'],
  ['an admin with a ceiling', { admin: true, ...within('GET /a') }, 'invalid_argument', 'caller.ceilings'],
  ['an admin with a longest lifetime', { admin: true, maxTtl: { seconds: 5n } }, 'invalid_argument', 'caller.max_ttl'],
  ['an admin with labels', { admin: true, clients: {} }, 'invalid_argument', 'caller.clients'],
  ['an admin with subjects', { admin: true, subjects: {} }, 'invalid_argument', 'caller.subjects'],
];
test.each(wrong)('Create and Update refuse %s, by its field', async (_name, caller, code, field) => {
  const name = `wrong-${++made}`;
  const whole = { services: ['github'], ...caller, name };
  expect(await refusalOf(control.admin.callers.create({ caller: whole }))).toEqual([code, field]);
  await control.admin.callers.create({ caller: { name, services: ['github'] } });
  const update = { caller: whole, updateMask: { paths: ['*'] } };
  expect(await refusalOf(control.admin.callers.update(update))).toEqual([code, field]);
});

test('every problem is named at once', async () => {
  const caller = {
    name: 'many',
    services: ['github'],
    ...within('x', 'GET /a', 'y'),
    maxTtl: { seconds: 1n, nanos: 5 },
  };
  const error = ConnectError.from(await errorOf(control.admin.callers.create({ caller })));
  for (const field of ['caller.ceilings["github"].rules[0]', 'rules[2]', 'caller.max_ttl']) {
    expect(error.rawMessage).toContain(field);
  }
});

test('Update refuses an unknown caller, the built-in admin, a stale etag and a wrong mask', async () => {
  const { name, caller } = await makeCaller({});
  const update = (changed: Omit<CallerInit, '$typeName'>, paths: string[]) =>
    refusalOf(control.admin.callers.update({ caller: { name, ...changed }, updateMask: { paths } }));
  expect(await update({ name: 'nobody' }, ['*'])).toEqual(['not_found', 'caller.name']);
  expect(await update({ name: 'admin', services: [] }, ['services'])).toEqual(['failed_precondition', 'caller.name']);
  expect(await update({ etag: 'old' }, ['services'])).toEqual(['etag_stale', 'caller.etag']);
  expect(await update({}, [])).toEqual(['invalid_argument', 'update_mask']);
  expect(await update({}, ['name'])).toEqual(['invalid_argument', 'update_mask']);
  expect(await update({}, ['constructor'])).toEqual(['invalid_argument', 'update_mask']);
  expect(await update({}, ['*', 'services'])).toEqual(['invalid_argument', 'update_mask']);
  const ok = { caller: { name, etag: caller?.etag ?? '', services: [] }, updateMask: { paths: ['services'] } };
  expect((await control.admin.callers.update(ok)).caller?.services).toEqual([]);
});

test('a service leaves the list only together with its ceiling, so that it cannot come back without one', async () => {
  const { name } = await makeCaller(within('GET /a'));
  const services = { caller: { name, services: ['stripe'] }, updateMask: { paths: ['services'] } };
  expect(await refusalOf(control.admin.callers.update(services))).toEqual([
    'invalid_argument',
    'caller.ceilings["github"]',
  ]);
  const both = { ...services, updateMask: { paths: ['services', 'ceilings'] } };
  expect((await control.admin.callers.update(both)).caller).toMatchObject({ services: ['stripe'], ceilings: {} });
});

test('a ceiling outlives the named scope that it names, and other changes do not ask for it again', async () => {
  await using own = await startControl();
  await own.admin.services.create({ service: { name: 'plain', upstream, scopes: { a: { rules: ['GET /a'] } } } });
  const ceilings = { plain: { rules: ['scope:a'] } };
  await own.admin.callers.create({ caller: { name: 'bot', services: ['plain'], ceilings } });
  await own.admin.services.setScope({ service: 'plain', scope: 'a' });
  const update = { caller: { name: 'bot', editsScopes: true }, updateMask: { paths: ['edits_scopes'] } };
  expect((await own.admin.callers.update(update)).caller).toMatchObject({ ceilings });
});

test('a service that is deleted is in no ceiling any more, also when its name comes back', async () => {
  await using own = await startControl();
  for (const name of ['plain', 'kept']) await own.admin.services.create({ service: { name, upstream } });
  const ceilings = { plain: { rules: ['GET /a'] }, kept: { rules: ['GET /b'] } };
  const { caller } = await own.admin.callers.create({ caller: { name: 'bot', services: ['plain', 'kept'], ceilings } });
  await own.admin.services.delete({ name: 'plain' });
  await own.admin.services.create({ service: { name: 'plain', upstream } });
  const { callers } = await own.admin.callers.list({});
  const found = callers.find(({ name }) => name === 'bot');
  expect(found).toMatchObject({ services: ['kept'], ceilings: { kept: { rules: ['GET /b'] } } });
  expect(Object.keys(found?.ceilings ?? {})).toEqual(['kept']);
  expect(found?.etag).not.toBe(caller?.etag);
});

test('a caller that is made again has nothing of the one before', async () => {
  await using own = await startControl();
  await own.admin.services.create({ service: { name: 'plain', upstream } });
  const bounded = { name: 'bot', services: ['plain'], ceilings: { plain: { rules: ['GET /a'] } } };
  await own.admin.callers.create({ caller: bounded });
  await own.admin.callers.delete({ name: 'bot' });
  const { caller } = await own.admin.callers.create({ caller: { name: 'bot', services: ['plain'] } });
  expect(caller?.ceilings).toEqual({});
});

const LONG = Array.from({ length: 3 }, (_, i) => `GET /repos/acme/r${i}/**`);
const covered: readonly (readonly [ceiling: readonly string[], asked: readonly string[]])[] = [
  [['GET /a/**'], ['GET /a/b', 'GET /a/{x}/c', 'GET /a/']],
  [['GET,HEAD /a'], ['HEAD /a']],
  [['GET /a', 'POST /a'], ['GET,POST /a']],
  [['GET /a where query.q in ["x", "y"]'], ['GET /a where query.q = "x"']],
  [['scope:triage'], ['scope:triage']],
  [['op:labels/add'], ['op:labels/add where path.owner = "acme"']],
  [['POST /repos/**'], ['op:labels/add']],
  [LONG, LONG],
];
test.each(covered)('a ceiling of %j covers %j', async (ceiling, asked) => {
  const { tokens } = await makeCaller(within(...ceiling));
  expect((await tokens.mint({ service: 'github', allow: [...asked] })).jti).not.toBe('');
});

const wider: readonly (readonly [string, string[], string[], string, string])[] = [
  ['another path', ['GET /a'], ['GET /b'], 'allow[0]', 'the path'],
  ['another method', ['GET /a'], ['GET /a', 'POST /a'], 'allow[1]', 'the method'],
  ['one method more', ['GET /a'], ['GET,POST /a'], 'allow[0]', 'in its part `POST /a`'],
  ['every method', ['GET /a'], ['* /a'], 'allow[0]', 'the method'],
  ['a deeper glob', ['GET /a/*'], ['GET /a/**'], 'allow[0]', 'the path'],
  ['a name for a literal', ['GET /a/b'], ['GET /a/{x}'], 'allow[0]', 'the path'],
  ['everything', ['GET /a/**', 'POST /b/**'], ['* /**'], 'allow[0]', 'the path'],
  ['a condition dropped', ['GET /a where query.q = "x"'], ['GET /a'], 'allow[0]', 'query.q = "x"'],
  [
    'one value more',
    ['GET /a where query.q = "x"'],
    ['GET /a where query.q in ["x", "y"]'],
    'allow[0]',
    'query.q = "x"',
  ],
  ['a pattern', ['GET /a/**'], ['GET ~/a/.*'], 'allow[0]', 'the path'],
  ['a named scope that is not named', ['GET /**'], ['scope:triage'], 'allow[0]', 'the kind of rule'],
  ['another named scope', ['scope:triage'], ['scope:other'], 'allow[0]', 'the kind of rule'],
  ['what a named scope holds', ['scope:triage'], ['GET /issues'], 'allow[0]', 'the kind of rule'],
  ['an operation elsewhere', ['POST /repos/acme/**'], ['GET /repos/acme/x', 'op:labels/add'], 'allow[0]', 'the method'],
  [
    'what only two rules together cover',
    ['GET /a where query.n < 5', 'GET /a where query.n >= 5'],
    ['GET /a where query.n > 0'],
    'allow[0]',
    'query.n',
  ],
  ['anything, where the ceiling is empty', [], ['GET /a'], 'allow[0]', 'the kind of rule'],
];
test.each(wider)('Mint refuses %s, naming rule and clause', async (_name, ceiling, allow, field, clause) => {
  const { name, tokens } = await makeCaller(within(...ceiling));
  const error = ConnectError.from(await errorOf(tokens.mint({ service: 'github', allow })));
  expect([error.metadata.get('daypass-error-code'), error.metadata.get('daypass-error-field')]).toEqual([
    'permission_denied',
    field,
  ]);
  expect(error.rawMessage).toContain(`goes beyond the ceiling of \`${name}\``);
  expect(error.rawMessage).toContain(clause);
  expect((await tokens.list({})).tokens).toEqual([]);
  const { events } = await control.admin.audit.query({ filter: { kind: 2, outcome: 2 }, pageSize: 1 });
  expect(events[0]).toMatchObject({ caller: name, reason: 'permission_denied', service: 'github' });
});

test('a service without a ceiling is bounded by nothing, and an admin never is', async () => {
  const { tokens } = await makeCaller({ services: ['github', 'stripe'], ...within('GET /a') });
  expect((await tokens.mint({ service: 'stripe', allow: ['* /**'] })).allow).toEqual(['* /**']);
  expect((await control.admin.tokens.mint({ service: 'github', allow: ['* /**'] })).allow).toEqual(['* /**']);
});

const labels: readonly (readonly [string, Omit<CallerInit, '$typeName'>, MintInit, string | undefined])[] = [
  ['its label', { clients: { labels: ['a'] } }, { client: 'a' }, undefined],
  ['another label', { clients: { labels: ['a'] } }, { client: 'b' }, 'client'],
  ['the label by default', { clients: { labels: ['a'] } }, {}, 'client'],
  ['no label at all', { clients: {} }, { client: 'a' }, 'client'],
  ['a label as subject', { clients: { labels: ['a', 'b'] } }, { client: 'a', subject: 'b' }, undefined],
  ['another subject', { clients: { labels: ['a'] } }, { client: 'a', subject: 'ann' }, 'subject'],
  [
    'a subject of its own',
    { clients: { labels: ['a'] }, subjects: { subjects: ['ann'] } },
    { client: 'a', subject: 'ann' },
    undefined,
  ],
  ['a subject with any label', { subjects: { subjects: ['ann'] } }, { client: 'x', subject: 'ann' }, undefined],
  [
    'the label as subject where only subjects are listed',
    { subjects: { subjects: ['ann'] } },
    { client: 'x' },
    'subject',
  ],
];
test.each(labels)('labels: %s', async (_name, caller, request, field) => {
  const { tokens } = await makeCaller(caller);
  const work = tokens.mint({ ...request, service: 'github', allow: ['GET /a'] });
  if (field === undefined) expect((await work).jti).not.toBe('');
  else expect(await refusalOf(work)).toEqual(['permission_denied', field]);
});

test('the longest lifetime of a caller lowers the default, and more is refused', async () => {
  const lifetime = async (maxTtl: bigint, ttl?: bigint) => {
    const { tokens } = await makeCaller({ maxTtl: { seconds: maxTtl } });
    const request = { service: 'github', allow: ['GET /a'], ...(ttl === undefined ? {} : { ttl: { seconds: ttl } }) };
    const { token } = await tokens.mint(request);
    const { exp, iat } = readUnverifiedClaims(readToken(token));
    return Math.round(exp - iat);
  };
  expect(await lifetime(60n)).toBe(60);
  expect(await lifetime(3600n)).toBe(900);
  expect(await lifetime(3600n, 3600n)).toBe(3600);
  expect(await refusalOf(lifetime(3600n, 3601n))).toEqual(['permission_denied', 'ttl']);
  // The service's own maximum is nobody's permission.
  expect(await refusalOf(lifetime(9000n, 8000n))).toEqual(['invalid_argument', 'ttl']);
});

test('a narrower ceiling holds from the next token on, and tokens that are out stay until they are revoked', async () => {
  const { name, tokens } = await makeCaller(within('GET /a', 'GET /b'));
  const { token } = await tokens.mint({ service: 'github', allow: ['GET /b'] });
  const narrow = { caller: { name, ...within('GET /a') }, updateMask: { paths: ['ceilings'] } };
  await control.admin.callers.update(narrow);
  expect(await refusalOf(tokens.mint({ service: 'github', allow: ['GET /b'] }))).toEqual([
    'permission_denied',
    'allow[0]',
  ]);
  expect(await tokens.introspect({ token })).toMatchObject({ active: true });
  await tokens.revoke({ target: { case: 'cutOff', value: { caller: name } } });
  expect(await tokens.introspect({ token })).toMatchObject({ active: false, reason: 'token_revoked' });
});

test('a token may be bound to a key, and only a thumbprint is taken for one', async () => {
  const jkt = 'NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs';
  const mint = (dpopJkt: string) => control.admin.tokens.mint({ service: 'github', allow: ['GET /a'], dpopJkt });
  const { token } = await mint(jkt);
  expect(readUnverifiedClaims(readToken(token)).cnf).toEqual({ jkt });
  expect((await control.admin.tokens.introspect({ token })).token).toMatchObject({
    dpopJkt: jkt,
    parents: [],
    actors: [],
  });
  expect(await refusalOf(mint('short'))).toEqual(['invalid_argument', 'dpop_jkt']);
  // 43 characters of which the last holds bits that 32 bytes do not have.
  expect(await refusalOf(mint(`${jkt.slice(0, -1)}t`))).toEqual(['invalid_argument', 'dpop_jkt']);
});

test('a ceiling of 10,000 rules bounds a token of many, without a long stop of everything else', async () => {
  const rules = Array.from({ length: 10_000 }, (_, i) => `GET /repos/acme/site-${i}/issues/**`);
  const { tokens } = await makeCaller(within(...rules));
  const allow = Array.from({ length: 100 }, (_, i) => `GET /repos/acme/site-${i * 99}/issues/{n}`);
  expect((await tokens.mint({ service: 'github', allow })).allow).toHaveLength(100);
  expect(await refusalOf(tokens.mint({ service: 'github', allow: [...allow, 'GET /repos/acme/*/issues/1'] }))).toEqual([
    'permission_denied',
    'allow[100]',
  ]);
});

test('a list that no token could hold is refused before it is read', async () => {
  const { tokens } = await makeCaller({});
  const refused = async (allow: string[]) =>
    ConnectError.from(await errorOf(tokens.mint({ service: 'github', allow }))).rawMessage;
  const long = Array.from({ length: 20 }, (_, i) => `GET /${'a'.repeat(4000)}${i}`);
  const tooLong = 'allow: holds more than 8192 characters, operations spelt out';
  expect(await refused([...long, 'nonsense'])).toBe(tooLong);
  const patterns = Array.from({ length: 65 }, (_, i) => `GET ~/a${i}`);
  expect(await refused([...patterns, 'nonsense'])).toBe('allow: holds more than 64 `~` rules');
});
