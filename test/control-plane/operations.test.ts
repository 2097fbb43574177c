// Operations of a service: given with it, listed, and put in the place of `op:` rules when a token is minted.

import type { MessageInitShape } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { CallerService } from '@daypass/sdk/gen/daypass/v1/caller_pb';
import { type OperationSchema, ServiceRegistry, type ServiceSchema } from '@daypass/sdk/gen/daypass/v1/service_pb';
import { TokenService } from '@daypass/sdk/gen/daypass/v1/token_pb';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { nearIds } from '../../control-plane/domain/near-ids.ts';
import { errorOf, type Running, startControl } from './fixture.ts';

type Operation = MessageInitShape<typeof OperationSchema>;

let control: Running;
beforeAll(async () => {
  control = await startControl();
});
afterAll(async () => {
  await control[Symbol.asyncDispose]();
});

const GET: Operation = { id: 'issues/get', rule: 'GET /repos/{owner}/{repo}/issues/{n}', summary: 'Get an issue' };
const LABEL: Operation = { id: 'issues/add-labels', rule: 'POST /repos/{owner}/{repo}/issues/{n}/labels', summary: '' };
const COMPARE: Operation = { id: 'repos/compare', rule: 'GET ~/compare/[^/]+\\.\\.\\.[^/]+', summary: '' };

const create = (name: string, more: MessageInitShape<typeof ServiceSchema> = {}) =>
  control.admin.services.create({
    service: { name, upstream: 'https://api.example.com', operations: [GET, LABEL, COMPARE], ...more },
    wait: { seconds: 0n },
  });

const update = (name: string, paths: string[], more: MessageInitShape<typeof ServiceSchema>) =>
  control.admin.services.update({
    service: { name, upstream: 'https://api.example.com', ...more },
    updateMask: { paths },
    wait: { seconds: 0n },
  });

const idsOf = async (service: string, more: { contains?: string; ids?: string[] } = {}) =>
  (await control.admin.services.listOperations({ service, ...more })).operations.map(({ id }) => id);

const mint = async (service: string, allow: string[]) => (await control.admin.tokens.mint({ service, allow })).allow;

const refusal = async (work: Promise<unknown>) => {
  const error = ConnectError.from(await errorOf(work));
  const { metadata, rawMessage: message } = error;
  return { code: metadata.get('daypass-error-code'), field: metadata.get('daypass-error-field'), message };
};

test('operations come with a service, are listed apart from it, and go with it', async () => {
  const { service } = await create('whole');
  expect(service?.operations).toEqual([]);
  expect((await control.admin.services.listOperations({ service: 'whole' })).operations).toMatchObject([
    LABEL,
    GET,
    COMPARE,
  ]);
  expect(await idsOf('whole', { contains: 'ISSUE' })).toEqual(['issues/add-labels', 'issues/get']);
  expect(await idsOf('whole', { contains: 'an issue' })).toEqual(['issues/get']);
  expect(await idsOf('whole', { ids: ['repos/compare', 'none'] })).toEqual(['repos/compare']);
  await control.admin.services.delete({ name: 'whole', wait: { seconds: 0n } });
  expect((await refusal(idsOf('whole'))).code).toBe('not_found');
  await create('whole', { operations: [] });
  expect(await idsOf('whole')).toEqual([]);
});

test('they are listed a page at a time', async () => {
  await create('paged');
  const first = await control.admin.services.listOperations({ service: 'paged', pageSize: 2 });
  expect(first.operations.map(({ id }) => id)).toEqual(['issues/add-labels', 'issues/get']);
  const { nextPageToken: pageToken } = first;
  const second = await control.admin.services.listOperations({ service: 'paged', pageSize: 2, pageToken });
  expect([second.operations.map(({ id }) => id), second.nextPageToken]).toEqual([['repos/compare'], '']);
});

test('an update replaces all of them, or none where its mask does not name them', async () => {
  await create('changed');
  await update('changed', ['description'], { description: 'x', operations: [] });
  expect(await idsOf('changed')).toHaveLength(3);
  await update('changed', ['operations'], { operations: [GET] });
  expect(await idsOf('changed')).toEqual(['issues/get']);
  await update('changed', ['*'], {});
  expect(await idsOf('changed')).toEqual(['issues/get']);
  await update('changed', ['operations'], { operations: [] });
  expect(await idsOf('changed')).toEqual([]);
});

test('nothing of a change is kept where a part of it is wrong', async () => {
  await create('kept');
  const changed = update('kept', ['operations', 'description'], { operations: [GET, GET], description: 'x' });
  expect(await refusal(changed)).toMatchObject({ code: 'invalid_argument', field: 'service.operations[1].id' });
  expect(await idsOf('kept')).toHaveLength(3);
});

test.each<[string, Operation[], string]>([
  ['an id that is there twice', [GET, LABEL, GET], 'service.operations[2].id'],
  ['an id that no rule can name', [{ ...GET, id: '-a' }], 'service.operations[0].id'],
  ['a rule with a condition', [{ ...GET, rule: 'GET /{a} where path.a = "b"' }], 'service.operations[0].rule'],
  ['a rule that names another operation', [GET, { id: 'a', rule: 'op:issues/get' }], 'service.operations[1].rule'],
  ['a rule that names a scope', [{ id: 'a', rule: 'scope:a' }], 'service.operations[0].rule'],
  ['a GraphQL rule', [{ id: 'a', rule: 'graphql /graphql query *' }], 'service.operations[0].rule'],
  ['a rule that is none', [{ id: 'a', rule: 'GET a' }], 'service.operations[0].rule'],
  ['a summary of two lines', [{ ...GET, summary: 'a\nb' }], 'service.operations[0].summary'],
])('%s is refused', async (_, operations, field) => {
  expect(await refusal(create('bad', { operations }))).toMatchObject({ field });
});

test('a rule is kept in its canonical form', async () => {
  await create('canonical', { operations: [{ id: 'a', rule: 'POST,GET /a' }] });
  expect((await control.admin.services.listOperations({ service: 'canonical' })).operations[0]?.rule).toBe(
    'GET,POST /a',
  );
});

test('a token carries the rules that operations stand for, conditions included', async () => {
  await create('minted');
  const allow = ['op:repos/compare', 'op:issues/add-labels where path.owner = "acme" and body.labels[*] in ["b", "a"]'];
  const { token, allow: granted } = await control.admin.tokens.mint({ service: 'minted', allow });
  const rules = [
    'GET ~/compare/[^/]+\\.\\.\\.[^/]+',
    'POST /repos/{owner}/{repo}/issues/{n}/labels where path.owner = "acme" and body.labels[*] in ["a", "b"]',
  ];
  expect(granted).toEqual(rules);
  const payload: unknown = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString());
  expect(payload).toMatchObject({ allowed: rules });
});

test('a new document does not change a token that is out', async () => {
  await create('later');
  const { token } = await control.admin.tokens.mint({ service: 'later', allow: ['op:issues/get'] });
  await update('later', ['operations'], { operations: [{ id: 'issues/get', rule: '* /**' }] });
  const { token: known } = await control.admin.tokens.introspect({ token });
  expect(known?.allow).toEqual([GET.rule]);
  expect(await mint('later', ['op:issues/get'])).toEqual(['* /**']);
});

test.each<[rule: string, why: RegExp]>([
  ['op:issue/get', /no such operation; did you mean `op:issues\/get`\?/],
  ['op:Issues_Get', /did you mean `op:issues\/get`/],
  ['op:labels/add-labels', /did you mean `op:issues\/add-labels`/],
  ['op:billing/close', /no such operation$/],
  ['op:issues/get where path.number = 1', /has no \{number\}; there is path\.owner, path\.repo, path\.n/],
  ['op:issues/get where arg.x = 1', /no arguments/],
  ['op:repos/compare where query.page = 1', /takes no conditions/],
])('Mint refuses %s', async (rule, why) => {
  await create('refusing').catch(() => {});
  const refused = await refusal(mint('refusing', ['op:issues/get', rule]));
  expect(refused).toMatchObject({ code: 'invalid_rule', field: 'allow[1]', message: expect.stringMatching(why) });
});

test('a service without a document has no operations, and Mint says so', async () => {
  await create('without', { operations: [] });
  expect((await refusal(mint('without', ['op:issues/get']))).message).toContain('no OpenAPI document');
});

test('a named scope keeps what its operations stood for', async () => {
  const scopes = { triage: { rules: ['op:issues/get where path.owner = "acme"', 'GET /user'] } };
  const { service } = await create('scoped', { scopes });
  const rules = [`${GET.rule} where path.owner = "acme"`, 'GET /user'];
  expect(service?.scopes.triage?.rules).toEqual(rules);
  const { service: same } = await update('scoped', ['operations'], { operations: [] });
  expect(same?.scopes.triage?.rules).toEqual(rules);
  expect(await refusal(update('scoped', ['scopes'], { scopes }))).toMatchObject({
    code: 'invalid_rule',
    field: 'service.scopes["triage"].rules[0]',
  });
  await update('scoped', ['operations'], { operations: [GET] });
  const { service: again } = await update('scoped', ['scopes'], { scopes });
  expect(again?.scopes.triage?.rules).toEqual(rules);
});

test('a caller sees the operations of the services that it may mint for, and of no other', async () => {
  await create('own');
  await create('other');
  const { apiKey } = await control.admin.callers.create({ caller: { name: 'bot', services: ['own'] } });
  const services = control.client(ServiceRegistry, apiKey);
  expect((await services.listOperations({ service: 'own' })).operations).toHaveLength(3);
  const foreign = await refusal(services.listOperations({ service: 'other' }));
  const missing = await refusal(services.listOperations({ service: 'nowhere' }));
  expect([foreign.code, foreign.field]).toEqual(['not_found', 'service']);
  expect(foreign.message.replace('other', 'nowhere')).toBe(missing.message);
  const tokens = control.client(TokenService, apiKey);
  expect((await tokens.mint({ service: 'own', allow: ['op:issues/get'] })).allow).toEqual([GET.rule]);
  expect((await refusal(tokens.mint({ service: 'other', allow: ['op:issues/gets'] }))).code).toBe('permission_denied');
  await expect(control.client(CallerService, apiKey).list({})).rejects.toMatchObject({ code: Code.PermissionDenied });
});

test('10,000 operations fit a service, and 10,000 that are not there are refused in a short time', async () => {
  const operations = Array.from({ length: 10_000 }, (_, i) => ({
    id: `op/${'x'.repeat(60)}-${i}`,
    rule: `GET /x${i}/{a}`,
  }));
  await create('large', { operations });
  const rules = operations.map(({ id }) => `op:${id}`);
  await update('large', ['scopes'], { scopes: { all: { rules } } });
  const wrong = rules.map((rule) => `${rule}-no`);
  const started = performance.now();
  const refused = await refusal(update('large', ['scopes'], { scopes: { all: { rules: wrong } } }));
  expect(refused).toMatchObject({ code: 'invalid_rule', field: 'service.scopes["all"].rules[0]' });
  expect(refused.message).toContain('and 9980 more');
  expect(performance.now() - started).toBeLessThan(5000);
});

test('near ids: at most three, the nearest first, and none for what is like nothing', () => {
  const ids = ['issues/get', 'issues/set', 'gists/get', 'a/b', 'pulls/get', 'issues/list'];
  expect(nearIds('issues/gett', ids)).toEqual(['issues/get', 'issues/set']);
  expect(nearIds('issue.get', ids)).toEqual(['issues/get', 'issues/set', 'gists/get']);
  expect(nearIds('x/get', ids)).toHaveLength(3);
  expect(nearIds('zzzzzz', ids)).toEqual([]);
  expect(nearIds('--', ['__', 'q'])).toEqual([]);
});
