// Callers: keys shown once, services they may mint for, and what is left when one goes.
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Code, ConnectError } from '@connectrpc/connect';
import { CallerService } from '@daypass/sdk/gen/daypass/v1/caller_pb';
import { ServiceRegistry } from '@daypass/sdk/gen/daypass/v1/service_pb';
import { TokenService } from '@daypass/sdk/gen/daypass/v1/token_pb';
import { expect, test } from 'vitest';
import { errorOf, sealFor, startControl } from './fixture.ts';

const upstream = 'https://api.example.com';

test('a caller gets its key once, and the database holds nothing of it', async () => {
  await using control = await startControl();
  const { caller, apiKey } = await control.admin.callers.create({ caller: { name: 'bot' } });
  expect(caller).toMatchObject({ name: 'bot', services: [], admin: false });
  expect(apiKey).toMatch(/^dpk_[A-Za-z0-9_-]{43}$/);
  expect((await control.client(CallerService, apiKey).whoAmI({})).caller).toEqual(caller);
  const { callers } = await control.admin.callers.list({});
  expect(callers.map(({ name }) => name)).toEqual(['admin', 'bot']);
  const folder = join(control.home.path, 'control');
  for (const file of ['daypass.db', 'daypass.db-wal']) {
    expect(await readFile(join(folder, file), 'latin1')).not.toContain(apiKey.slice(4));
  }
  expect(control.logged.join('\n')).not.toContain(apiKey.slice(4));
});

test('Create refuses a taken name, a wrong one, and services that are not there', async () => {
  await using control = await startControl();
  const refusal = async (caller: { name: string; services?: string[] }) => {
    const error = ConnectError.from(await errorOf(control.admin.callers.create({ caller })));
    return [error.code, error.metadata.get('daypass-error-field')];
  };
  expect(await refusal({ name: 'admin' })).toEqual([Code.AlreadyExists, 'caller.name']);
  expect(await refusal({ name: '*' })).toEqual([Code.InvalidArgument, 'caller.name']);
  expect(await refusal({ name: 'bot', services: ['nowhere'] })).toEqual([Code.NotFound, 'caller.services[0]']);
  expect(ConnectError.from(await errorOf(control.admin.callers.create({}))).code).toBe(Code.InvalidArgument);
});

test('a deleted caller has no key and no token any more, also when its name comes back', async () => {
  await using control = await startControl();
  await control.admin.services.create({ service: { name: 'plain', upstream } });
  const caller = { name: 'bot', services: ['plain'] };
  const { apiKey } = await control.admin.callers.create({ caller });
  const { token } = await control.client(TokenService, apiKey).mint({ service: 'plain', allow: ['GET /**'] });
  await control.admin.callers.delete({ name: 'bot' });
  await expect(control.client(CallerService, apiKey).whoAmI({})).rejects.toMatchObject({ code: Code.Unauthenticated });
  expect(await control.admin.tokens.introspect({ token })).toMatchObject({ active: false, reason: 'token_revoked' });
  await control.admin.callers.create({ caller });
  expect(await control.admin.tokens.introspect({ token })).toMatchObject({ active: false, reason: 'token_revoked' });
  await expect(control.admin.callers.delete({ name: 'nobody' })).rejects.toMatchObject({ code: Code.NotFound });
  await expect(control.admin.callers.delete({ name: 'admin' })).rejects.toMatchObject({
    code: Code.FailedPrecondition,
  });
});

test('a caller sees the services that it may mint for, without their seals', async () => {
  await using control = await startControl();
  const sealedCredential = await sealFor(control.home, 'own');
  const sealed = { sealedCredential, credentialId: '0123456789abcdef0123456789abcdef', place: { kind: 1 as const } };
  for (const name of ['own', 'later']) await control.admin.services.create({ service: { name, upstream, ...sealed } });
  const { apiKey } = await control.admin.callers.create({ caller: { name: 'bot', services: ['own'] } });
  const registry = control.client(ServiceRegistry, apiKey);
  const { services, nextPageToken } = await registry.list({});
  expect([services.map(({ name }) => name), nextPageToken]).toEqual([['own'], '']);
  expect((await registry.get({ name: 'own' })).service).toMatchObject({ name: 'own', sealedCredential: '' });
  await expect(registry.get({ name: 'later' })).rejects.toMatchObject({ code: Code.NotFound });
  await expect(registry.get({ name: 'nowhere' })).rejects.toMatchObject({ code: Code.NotFound });
});

test('the admin of the file is the admin after a restart with another key', async () => {
  await using before = await startControl();
  const next = `dpk_${'A'.repeat(43)}`;
  const hash = createHash('sha256').update(next).digest('hex');
  await writeFile(join(before.home.path, 'control', 'admin.json'), JSON.stringify({ v: 1, key_hash: hash }));
  await before.app.close();
  await using after = await startControl({ home: before.home });
  expect((await after.client(CallerService, next).whoAmI({})).caller?.admin).toBe(true);
  await expect(after.admin.callers.whoAmI({})).rejects.toMatchObject({ code: Code.Unauthenticated });
});
