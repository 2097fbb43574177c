// Services leave room in a snapshot for revocations, however long their named scopes are.
import { ConnectError } from '@connectrpc/connect';
import { entryBytes, MAX_ENTRIES, MAX_ENTRY_BYTES } from '@daypass/core/snapshot';
import { CallerService } from '@daypass/sdk/gen/daypass/v1/caller_pb';
import { ServiceRegistry } from '@daypass/sdk/gen/daypass/v1/service_pb';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { checkRoom } from '../../control-plane/domain/room.ts';
import { type Size, serviceEntries } from '../../control-plane/domain/snapshot-content.ts';
import type { ServiceRow } from '../../control-plane/store/interface.ts';
import { errorOf, type Running, startControl } from './fixture.ts';

let control: Running;
beforeAll(async () => {
  control = await startControl();
});
afterAll(async () => {
  await control[Symbol.asyncDispose]();
});

const upstream = 'https://api.example.com';
const wait = { seconds: 0n };
const refusalOf = async (work: Promise<unknown>) => {
  const error = ConnectError.from(await errorOf(work));
  return [error.metadata.get('daypass-error-code'), error.metadata.get('daypass-error-field')];
};

test('an editor of scopes cannot fill a snapshot, also not by operations that are longer than their names', async () => {
  const operations = [{ id: 'long', rule: `GET /${'a'.repeat(4000)}`, summary: '' }];
  await control.admin.services.create({ service: { name: 'long', upstream, operations }, wait });
  const editor = { name: 'editor', services: ['long'], editsScopes: true };
  const { apiKey } = await control.admin.callers.create({ caller: editor });
  const { setScope } = control.client(ServiceRegistry, apiKey);
  const rules = (count: number) => Array.from({ length: count }, (_, i) => `op:long where query.a = ${i}`);
  const set = (scope: string, count: number) =>
    setScope({ service: 'long', scope, rules: { rules: rules(count) }, wait });
  expect(await refusalOf(set('one', 1100))).toEqual(['invalid_argument', 'rules.rules']);
  await set('one', 700);
  expect(await refusalOf(set('two', 700))).toEqual(['invalid_argument', 'rules']);
  await set('one', 300);
  await set('two', 700);
  expect(
    await refusalOf(
      control.admin.services.update({
        service: { name: 'long', scopes: { a: { rules: rules(600) }, b: { rules: rules(600) } } },
        updateMask: { paths: ['scopes'] },
        wait,
      }),
    ),
  ).toEqual(['invalid_argument', 'service.scopes']);
  await control.admin.services.create({ service: { name: 'long-2', upstream, operations }, wait });
  const ceilings = { long: { rules: rules(600) }, 'long-2': { rules: rules(600) } };
  const caller = { name: 'bounded', services: Object.keys(ceilings), ceilings };
  expect(await refusalOf(control.admin.callers.create({ caller }))).toEqual(['invalid_argument', 'caller.ceilings']);
  expect((await control.client(CallerService, apiKey).whoAmI({})).caller?.name).toBe('editor');
});

const service = (name: string, chars: number, scopes = 1): ServiceRow => ({
  ...EMPTY,
  name,
  scopes: Object.fromEntries(Array.from({ length: scopes }, (_, i) => [`s${i}`, [`GET /${'a'.repeat(chars)}`]])),
});
const EMPTY = {
  config: { pool: 'default' } as ServiceRow['config'],
  description: '',
  sealedCredential: undefined,
  credentialId: undefined,
  etag: '',
  createdAt: 0,
  updatedAt: 0,
};
const sizeOf = (row: ServiceRow | undefined): Size => {
  const entries = row === undefined ? [] : serviceEntries(row);
  return { entries: entries.length, bytes: entries.reduce((sum, entry) => sum + entryBytes(entry), 0) };
};
const room = (others: Size, old: ServiceRow | undefined, row: ServiceRow) => {
  const { entries, bytes } = sizeOf(old);
  return checkRoom(async () => ({ entries: others.entries + entries, bytes: others.bytes + bytes }), old, row);
};
const MB = 1_000_000;
const left = (entries: number, bytes: number): Size => ({
  entries: MAX_ENTRIES * 0.75 - entries,
  bytes: MAX_ENTRY_BYTES * 0.75 - bytes,
});
const full = left(1000, 5.5 * MB);

test('a quarter of a snapshot is kept for what is not a service', async () => {
  await room(full, undefined, service('c', 5 * MB));
  const refused = { code: 'failed_precondition' };
  await expect(room(full, undefined, service('c', 6 * MB))).rejects.toMatchObject(refused);
  await expect(room(full, undefined, service('c', 1, 1000))).rejects.toMatchObject(refused);
});

test('a service of a full pool may still shrink, and change what takes no room', async () => {
  const tooFull = left(1000, -4 * MB);
  const old = service('d', 2 * MB);
  await room(tooFull, old, service('d', MB));
  await room(tooFull, old, { ...old, description: 'other' });
  await expect(room(tooFull, old, service('d', 2 * MB + 1))).rejects.toMatchObject({ code: 'failed_precondition' });
});
