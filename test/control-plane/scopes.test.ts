// SetScope: who may widen a named scope, how far, and what everybody else may do with it.
import type { MessageInitShape } from '@bufbuild/protobuf';
import { ConnectError } from '@connectrpc/connect';
import type { CallerSchema } from '@daypass/sdk/gen/daypass/v1/caller_pb';
import { ServiceRegistry } from '@daypass/sdk/gen/daypass/v1/service_pb';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { errorOf, type Running, sealFor, startControl } from './fixture.ts';

type CallerInit = Omit<MessageInitShape<typeof CallerSchema>, '$typeName'>;

const upstream = 'https://api.example.com';
const ID = '0123456789abcdef0123456789abcdef';
const wait = { seconds: 0n };

let control: Running;
beforeAll(async () => {
  control = await startControl();
});
afterAll(async () => {
  await control[Symbol.asyncDispose]();
});

const refusalOf = async (work: Promise<unknown>) => {
  const error = ConnectError.from(await errorOf(work));
  return [error.metadata.get('daypass-error-code'), error.metadata.get('daypass-error-field')];
};

let made = 0;
/** A service of its own with the scope `triage`, and an editor of it. */
const makeEditor = async (caller: (service: string) => CallerInit, old: readonly string[] = ['GET /issues']) => {
  const [service, name] = [`s${++made}`, `c${made}`];
  const sealedCredential = await sealFor(control.home, service);
  const operations = [{ id: 'labels/add', rule: 'POST /labels', summary: '' }];
  const scopes = { triage: { rules: [...old] } };
  const seal = { place: { kind: 1 as const }, sealedCredential, credentialId: ID };
  await control.admin.services.create({ service: { name: service, upstream, scopes, operations, ...seal }, wait });
  const { apiKey } = await control.admin.callers.create({
    caller: { services: [service], editsScopes: true, ...caller(service), name },
  });
  const registry = control.client(ServiceRegistry, apiKey);
  const set = (rules: readonly string[] | undefined, more: { scope?: string; etag?: string } = {}) =>
    registry.setScope({
      ...{ service, scope: 'triage', wait, ...more },
      ...(rules === undefined ? {} : { rules: { rules: [...rules] } }),
    });
  return { name, service, registry, set };
};
const within =
  (...rules: string[]) =>
  (service: string) => ({ ceilings: { [service]: { rules } } });

test('an admin sets, replaces and removes scopes; operations are spelt out, and the seal is not shown to others', async () => {
  const { service, set } = await makeEditor(() => ({}));
  const admin = control.admin.services;
  const first = await admin.setScope({
    service,
    scope: 'a.new_one',
    rules: { rules: ['op:labels/add', 'GET,HEAD /b'] },
  });
  expect(first.service?.scopes).toMatchObject({
    'a.new_one': { rules: ['POST /labels', 'GET,HEAD /b'] },
    triage: { rules: ['GET /issues'] },
  });
  expect(first.rollout?.version).toBeGreaterThan(0n);
  const removed = await admin.setScope({ service, scope: 'triage', wait });
  expect(Object.keys(removed.service?.scopes ?? {})).toEqual(['a.new_one']);
  const emptied = await admin.setScope({ service, scope: 'a.new_one', rules: {}, wait });
  expect(emptied.service?.scopes).toMatchObject({ 'a.new_one': { rules: [] } });
  expect(emptied.service?.sealedCredential).not.toBe('');
  expect((await set(['GET /issues'])).service).toMatchObject({ name: service, sealedCredential: '' });
  const { events } = await control.admin.audit.query({ filter: { kind: 2, service }, pageSize: 1 });
  expect(events).toMatchObject([{ method: 'ServiceRegistry/SetScope', path: `services/${service}/scopes/triage` }]);
});

test('SetScope refuses what is wrong with the request, by its field', async () => {
  const { service, set } = await makeEditor(() => ({}));
  expect(await refusalOf(set(['GET /a', 'nonsense']))).toEqual(['invalid_rule', 'rules.rules[1]']);
  expect(await refusalOf(set(['scope:triage']))).toEqual(['invalid_rule', 'rules.rules[0]']);
  expect(await refusalOf(set(['op:no/such']))).toEqual(['invalid_rule', 'rules.rules[0]']);
  expect(await refusalOf(set(undefined, { scope: 'constructor' }))).toEqual(['not_found', 'scope']);
  expect(await refusalOf(set(['GET /a'], { etag: 'old' }))).toEqual(['etag_stale', 'etag']);
  const nowhere = control.admin.services.setScope({ service: 'nowhere', scope: 'a', rules: {}, wait });
  expect(await refusalOf(nowhere)).toEqual(['not_found', 'service']);
  const { service: stored } = await control.admin.services.get({ name: service });
  expect((await set(['GET /a'], { etag: stored?.etag ?? '' })).service?.etag).not.toBe(stored?.etag);
});

test('only who may edit scopes, and mint for the service, may set one; the refusal is in the audit', async () => {
  const plain = await makeEditor(() => ({ editsScopes: false }));
  expect(await refusalOf(plain.set([]))).toEqual(['permission_denied', 'service']);
  const elsewhere = await makeEditor(() => ({ services: [] }));
  expect(await refusalOf(elsewhere.set([]))).toEqual(['permission_denied', 'service']);
  // One that is not there is refused the same way.
  const nowhere = elsewhere.registry.setScope({ service: 'nowhere', scope: 'a', wait });
  expect(await refusalOf(nowhere)).toEqual(['permission_denied', 'service']);
  const { events } = await control.admin.audit.query({ filter: { kind: 2, outcome: 2 }, pageSize: 3 });
  expect(events.map(({ caller, reason, path }) => [caller, reason, path])).toEqual([
    [elsewhere.name, 'permission_denied', 'services/nowhere/scopes/a'],
    [elsewhere.name, 'permission_denied', `services/${elsewhere.service}/scopes/triage`],
    [plain.name, 'permission_denied', `services/${plain.service}/scopes/triage`],
  ]);
});

const allowed: readonly (readonly [string, string[], string[], string[]])[] = [
  ['narrower', ['GET /**'], ['GET,POST /issues/**'], ['GET /issues/1', 'POST /issues/{n}']],
  ['narrower, though all of it is beyond the ceiling', ['GET /z'], ['GET /a/**', 'GET /b'], ['GET /a/b']],
  ['the same, beyond the ceiling', ['GET /z'], ['GET /a'], ['GET /a']],
  ['empty', ['GET /z'], ['GET /a'], []],
  ['wider, within the ceiling', ['GET /a/**', 'GET /b'], ['GET /a/b'], ['GET /a/*', 'GET /b']],
];
test.each(allowed)('a scope may become %s', async (_name, ceiling, old, rules) => {
  const { set } = await makeEditor(within(...ceiling), old);
  expect((await set(rules)).service?.scopes.triage?.rules).toEqual(rules);
});

const refused: readonly (readonly [string, string[], string[], string[], string])[] = [
  ['wider than its ceiling', ['GET /a/*'], ['GET /a/b'], ['GET /a/**'], 'rules.rules[0]'],
  ['wider by a rule', ['GET /a'], ['GET /a'], ['GET /a', 'POST /a'], 'rules.rules[1]'],
  [
    'wider by a condition less',
    ['GET /a where query.q = 1'],
    ['GET /a where query.q = 1'],
    ['GET /a'],
    'rules.rules[0]',
  ],
  ['wider by an operation', ['GET /a'], [], ['op:labels/add'], 'rules.rules[0]'],
  // What was there before and stays counts, too: the ceiling has to cover the result.
  ['wider where it holds what is beyond the ceiling', ['GET /b'], ['GET /z'], ['GET /b', 'GET /z'], 'rules.rules[1]'],
  ['what its ceiling names as a scope only', ['scope:triage'], ['GET /a'], ['GET /b'], 'rules.rules[0]'],
  ['anything, where the ceiling is empty', [], [], ['GET /a'], 'rules.rules[0]'],
];
test.each(refused)('a scope may not become %s', async (_name, ceiling, old, rules, field) => {
  const { service, set } = await makeEditor(() => ({}), old);
  await control.admin.callers.update({
    caller: { name: `c${made}`, ...within(...ceiling)(service) },
    updateMask: { paths: ['ceilings'] },
  });
  expect(await refusalOf(set(rules))).toEqual(['permission_denied', field]);
  const { service: stored } = await control.admin.services.get({ name: service });
  expect(stored?.scopes.triage?.rules).toEqual(old);
});

test('a new scope is an empty one that gets wider', async () => {
  const { set } = await makeEditor(within('GET /a'));
  expect(await refusalOf(set(['GET /b'], { scope: 'fresh' }))).toEqual(['permission_denied', 'rules.rules[0]']);
  expect((await set(['GET /a'], { scope: 'fresh' })).service?.scopes.fresh?.rules).toEqual(['GET /a']);
});

test('an editor without a ceiling for the service may set what it likes', async () => {
  const { set } = await makeEditor(() => ({}));
  expect((await set(['* /**'])).service?.scopes.triage?.rules).toEqual(['* /**']);
});

test('10,000 rules that are each a little wider are compared with 10,000 of the scope and 10,000 of the ceiling', async () => {
  const rules = (end: string) => Array.from({ length: 10_000 }, (_, i) => `GET /repos/acme/site-${i}/issues/${end}`);
  const { set } = await makeEditor(within(...rules('**')), rules('1'));
  expect((await set(rules('*'))).service?.scopes.triage?.rules).toHaveLength(10_000);
  const wide = rules('*').with(9999, 'GET /repos/acme/*/issues/*');
  expect(await refusalOf(set(wide))).toEqual(['permission_denied', 'rules.rules[9999]']);
});
