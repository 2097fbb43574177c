// The contract of services, callers, cut-offs, snapshots and nodes.
import { expect, test } from 'vitest';
import type { Store } from '../../control-plane/store/interface.ts';
import { caller, HOSTILE_TEXTS, NOW, service, snapshot } from './rows.ts';
import { FIRST } from './store.contract.ts';

export const registryContract = (store: () => Store): void => {
  serviceContract(store);
  callerContract(store);
  ceilingContract(store);
  rolloutContract(store);
};

const serviceContract = (store: () => Store): void => {
  test('a service comes back as it was stored, with its absent members absent', async () => {
    const rows = [
      service('full'),
      service('bare', { sealedCredential: undefined, credentialId: undefined, scopes: {}, description: '' }),
    ];
    for (const row of rows) {
      await store().transact((tx) => tx.services.insert(row));
      expect(await store().read.services.get(row.name)).toStrictEqual(row);
    }
    expect(await store().read.services.get('none')).toBeUndefined();
  });

  test('a service is inserted once, replaced when it is there, and deleted once', async () => {
    const changed = service('a', { description: 'two', etag: 'e2', credentialId: undefined, updatedAt: NOW + 5 }, 'eu');
    await store().transact(async ({ services }) => {
      await expect(services.replace(changed)).rejects.toMatchObject({ code: 'not_found' });
      await services.insert(service('a'));
      await services.insert(service('b'));
      await expect(services.insert(changed)).rejects.toMatchObject({ code: 'already_exists' });
      expect(await services.get('a')).toEqual(service('a'));
      await services.replace(changed);
    });
    expect(await store().read.services.get('a')).toEqual(changed);
    expect(await store().read.services.get('b')).toEqual(service('b'));
    expect(await store().read.services.ofPool('eu', FIRST)).toEqual([changed]);
    expect(await store().transact((tx) => tx.services.delete('a'))).toBe(true);
    expect(await store().transact((tx) => tx.services.delete('a'))).toBe(false);
    expect((await store().read.services.list(FIRST)).map(({ name }) => name)).toEqual(['b']);
  });

  test('services are listed in byte order of their names, page by page, each once', async () => {
    const names = ['a', 'b-1', 'b', 'B', 'b.2', 'z', '0'];
    await store().transact((tx) => Promise.all(names.map((name) => tx.services.insert(service(name)))));
    const seen: string[] = [];
    for (let after: string | undefined, more = true; more; ) {
      const page = await store().read.services.list({ after, limit: 2 });
      seen.push(...page.map(({ name }) => name));
      after = seen.at(-1);
      more = page.length === 2;
    }
    expect(seen).toEqual(['0', 'B', 'a', 'b', 'b-1', 'b.2', 'z']);
  });

  test('a cursor holds when the row that it names has gone', async () => {
    await store().transact(async ({ services }) => {
      for (const name of ['a', 'b', 'c']) await services.insert(service(name));
      await services.delete('b');
    });
    expect((await store().read.services.list({ after: 'b', limit: 5 })).map(({ name }) => name)).toEqual(['c']);
  });

  test.each([0, -1, 1.5, Number.NaN, 10_001])('a page of %d rows is refused', async (limit) => {
    const refused = { code: 'invalid_argument' };
    const { services, callers, tokens, audit } = store().read;
    await expect(services.list({ after: undefined, limit })).rejects.toMatchObject(refused);
    await expect(callers.list({ after: undefined, limit })).rejects.toMatchObject(refused);
    await expect(tokens.list({}, { after: undefined, limit })).rejects.toMatchObject(refused);
    await expect(audit.query({}, { after: undefined, limit })).rejects.toMatchObject(refused);
  });

  test('a pool has its own services only', async () => {
    await store().transact(async ({ services }) => {
      await services.insert(service('b', {}, 'eu'));
      await services.insert(service('a', {}, 'eu'));
      await services.insert(service('c', {}, 'us'));
    });
    expect((await store().read.services.ofPool('eu', FIRST)).map(({ name }) => name)).toEqual(['a', 'b']);
    expect(await store().read.services.ofPool('default', FIRST)).toEqual([]);
  });

  test.each(HOSTILE_TEXTS)('the text %j is kept as it is, wherever it stands', async (text) => {
    const config = { ...service(text, {}, text).config, set_headers: { [`x${text}`]: text } };
    const row = service(text, { config, description: text, etag: text, scopes: { [`s${text}`]: [text] } }, text);
    await store().transact(async (tx) => {
      await tx.services.insert(row);
      await tx.callers.insert(caller(text, { keyHash: text, services: [text] }));
    });
    expect(await store().read.services.get(text)).toEqual(row);
    expect(await store().read.services.ofPool(text, FIRST)).toHaveLength(1);
    expect((await store().read.callers.byKeyHash(text))?.services).toEqual([text]);
    expect(await store().read.services.get(`${text}x`)).toBeUndefined();
  });

  test('10,000 rules in a named scope are kept', async () => {
    const rules = Array.from({ length: 10_000 }, (_, index) => `GET /repos/acme/site-${index}/issues/**`);
    await store().transact((tx) => tx.services.insert(service('large', { scopes: { all: rules } })));
    expect((await store().read.services.get('large'))?.scopes.all).toEqual(rules);
  });
};

const callerContract = (store: () => Store): void => {
  test('a caller is found by name and by the hash of its key', async () => {
    const bounds = { maxTtlSeconds: 60, clients: ['x'], subjects: [], editsScopes: true, etag: 'e2' };
    const row = caller('ci', { admin: true, services: ['a', 'b'], ...bounds });
    await store().transact((tx) => tx.callers.insert(row));
    expect(await store().read.callers.get('ci')).toStrictEqual(row);
    expect(await store().read.callers.byKeyHash('hash of ci')).toStrictEqual(row);
    expect(await store().read.callers.get('hash of ci')).toBeUndefined();
    expect(await store().read.callers.byKeyHash('ci')).toBeUndefined();
  });

  test('neither a name nor a key can be taken twice', async () => {
    await store().transact(async ({ callers }) => {
      await callers.insert(caller('ci'));
      const taken = { code: 'already_exists' };
      await expect(callers.insert(caller('ci', { keyHash: 'other' }))).rejects.toMatchObject(taken);
      await expect(callers.insert(caller('other', { keyHash: 'hash of ci' }))).rejects.toMatchObject(taken);
      await expect(callers.put(caller('other', { keyHash: 'hash of ci' }))).rejects.toMatchObject(taken);
    });
    expect(await store().read.callers.list(FIRST)).toEqual([caller('ci')]);
  });

  test('put replaces all but the time, and ends the old key', async () => {
    const bounds = { maxTtlSeconds: 9, clients: [], subjects: ['ann'], editsScopes: true, etag: 'e3' };
    const changed = { ...bounds, keyHash: 'new', services: [], admin: true };
    await store().transact(async ({ callers }) => {
      await callers.put(caller('ci'));
      await callers.put(caller('ci', { ...changed, createdAt: NOW + 9 }));
    });
    const expected = caller('ci', changed);
    expect(await store().read.callers.list(FIRST)).toEqual([expected]);
    expect(await store().read.callers.byKeyHash('hash of ci')).toBeUndefined();
  });

  test('callers are listed in order, page by page, and deleted once', async () => {
    await store().transact(async ({ callers }) => {
      for (const name of ['c', 'a', 'b']) await callers.insert(caller(name));
    });
    const names = async (after: string | undefined, limit: number) =>
      (await store().read.callers.list({ after, limit })).map(({ name }) => name);
    expect(await names(undefined, 2)).toEqual(['a', 'b']);
    expect(await names('b', 2)).toEqual(['c']);
    expect(await store().transact((tx) => tx.callers.delete('b'))).toBe(true);
    expect(await store().transact((tx) => tx.callers.delete('b'))).toBe(false);
    expect(await names(undefined, 9)).toEqual(['a', 'c']);
  });
};

const ceilingContract = (store: () => Store): void => {
  test('ceilings are kept by caller and service, replaced together, and none is another thing than an empty one', async () => {
    const { ceilings } = store().read;
    const set = (name: string, of: Record<string, string[]>) =>
      store().transact((tx) => tx.ceilings.replaceAll(name, of));
    await set('ci', { stripe: [], github: ['GET /a', 'GET /b'] });
    await set('bot', { github: ['GET /c'] });
    expect(await ceilings.get('ci', 'github')).toEqual(['GET /a', 'GET /b']);
    expect(await ceilings.get('ci', 'stripe')).toEqual([]);
    expect(await ceilings.get('ci', 'none')).toBeUndefined();
    expect(Object.entries(await ceilings.ofCaller('ci'))).toEqual([
      ['github', ['GET /a', 'GET /b']],
      ['stripe', []],
    ]);
    await set('ci', { github: ['GET /d'] });
    expect(await ceilings.ofCaller('ci')).toEqual({ github: ['GET /d'] });
    await set('ci', {});
    expect(await ceilings.ofCaller('ci')).toEqual({});
    expect(await ceilings.ofCaller('bot')).toEqual({ github: ['GET /c'] });
  });

  test('the ceilings of a service go from all callers', async () => {
    await store().transact(async (tx) => {
      for (const name of ['a', 'b']) await tx.ceilings.replaceAll(name, { one: ['GET /1'], two: ['GET /2'] });
      await tx.ceilings.deleteService('one');
    });
    for (const name of ['a', 'b']) expect(await store().read.ceilings.ofCaller(name)).toEqual({ two: ['GET /2'] });
  });

  test.each(HOSTILE_TEXTS)('the text %j is kept in a ceiling', async (text) => {
    await store().transact((tx) => tx.ceilings.replaceAll(text, Object.fromEntries([[text, [text]]])));
    expect(await store().read.ceilings.get(text, text)).toEqual([text]);
    expect(Object.entries(await store().read.ceilings.ofCaller(text))).toEqual([[text, [text]]]);
  });
};

const rolloutContract = (store: () => Store): void => {
  test('cut-offs come back whole, without those that are too old', async () => {
    const cutOff = (id: string, minted_before: number) => ({
      id,
      entry: { service: 'github', subject: `'ann'`, minted_before },
      createdAt: NOW,
    });
    const rows = [cutOff('old', 1000), cutOff('edge', 2000.001), cutOff('b', 3000.5), cutOff('a', 3000.5)];
    await store().transact(async ({ cutOffs }) => {
      for (const row of rows) await cutOffs.insert(row);
      await expect(cutOffs.insert(cutOff('a', 1))).rejects.toMatchObject({ code: 'already_exists' });
    });
    const ids = async (since: number) => (await store().read.cutOffs.all(since)).map(({ id }) => id);
    expect(await ids(0)).toEqual(['old', 'edge', 'a', 'b']);
    expect(await ids(2_000_000)).toEqual(['edge', 'a', 'b']);
    expect(await ids(2_000_001)).toEqual(['a', 'b']);
    expect(await store().read.cutOffs.all(3_000_499)).toEqual([cutOff('a', 3000.5), cutOff('b', 3000.5)]);
  });

  test('the latest snapshot of a pool is the one of the highest version, and a version is taken once', async () => {
    await store().transact(async ({ snapshots }) => {
      for (const version of [9, 10, 2]) await snapshots.insert(snapshot('default', version), []);
      await snapshots.insert(snapshot('eu', 3), []);
      await expect(snapshots.insert(snapshot('eu', 3), [])).rejects.toMatchObject({ code: 'already_exists' });
    });
    expect(await store().read.snapshots.latest('default')).toStrictEqual(snapshot('default', 10));
    expect(await store().read.snapshots.latest('eu')).toStrictEqual(snapshot('eu', 3));
    expect(await store().read.snapshots.latest('none')).toBeUndefined();
  });

  test.each([
    2 ** 31,
    2 ** 32 + 1,
    2 ** 51 + 1,
    Number.MAX_SAFE_INTEGER,
  ])('the integer %d is kept exactly', async (n) => {
    await store().transact((tx) => tx.snapshots.insert({ ...snapshot('p', n), issuedAt: n, expiresAt: n - 1 }, []));
    expect(await store().read.snapshots.latest('p')).toMatchObject({ version: n, issuedAt: n, expiresAt: n - 1 });
  });

  test.each([2 ** 53, Number.NaN, Number.POSITIVE_INFINITY])('the number %d is refused, not rounded', async (n) => {
    const work = store().transact((tx) => tx.snapshots.insert(snapshot('p', n), []));
    await expect(work).rejects.toMatchObject({ code: 'internal' });
    expect(await store().read.snapshots.latest('p')).toBeUndefined();
  });
};
