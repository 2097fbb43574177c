// The contract of keys, and of what is sealed to them.
import { expect, test } from 'vitest';
import type { KeyRow, Store } from '../../control-plane/store/interface.ts';
import { NOW, service, token } from './rows.ts';
import { FIRST } from './store.contract.ts';

const key = (kid: string, changes: Partial<KeyRow> = {}): KeyRow => ({
  kid,
  use: 'token',
  jwk: { kty: 'OKP', crv: 'Ed25519', x: 'x' },
  alg: 'Ed25519',
  issuer: 'https://daypass.example',
  createdAt: NOW,
  activatedAt: undefined,
  retiredAt: undefined,
  lastExpiresAt: 0,
  ...changes,
});

export const keyContract = (store: () => Store): void => {
  const put = (...rows: readonly KeyRow[]): Promise<void> =>
    store().transact(async (tx) => {
      for (const row of rows) await tx.keys.put(row);
    });

  test('keys come back as they were stored, the oldest first, and the latest state of each', async () => {
    const whole = key('b', { activatedAt: NOW + 1, retiredAt: NOW + 2, lastExpiresAt: NOW + 3 });
    await put(whole, key('c', { createdAt: NOW - 1 }), key('a', { use: 'seal', issuer: '' }));
    const found = await store().read.keys.all();
    expect(found).toStrictEqual([key('c', { createdAt: NOW - 1 }), key('a', { use: 'seal', issuer: '' }), whole]);
    await put({ ...whole, lastExpiresAt: NOW + 4 });
    expect((await store().read.keys.all()).at(-1)).toStrictEqual({ ...whole, lastExpiresAt: NOW + 4 });
  });

  test('a transaction sees the keys that it and those before it have written', async () => {
    await put(key('a'));
    const seen = await store().transact(async (tx) => {
      const before = (await tx.keys.all()).length;
      await tx.keys.put(key('b'));
      return [before, (await tx.keys.all()).length];
    });
    expect(seen).toEqual([1, 2]);
    await expect(
      store().transact(async (tx) => {
        await tx.keys.put(key('c'));
        throw new Error('stop');
      }),
    ).rejects.toThrow('stop');
    expect(await store().transact(async (tx) => (await tx.keys.all()).length)).toBe(2);
  });

  test('tokens that carry a credential are counted by the key that it is sealed to, until they end', async () => {
    const alive = { sealKid: 'k1', expiresAt: NOW + 1 };
    await store().transact(async (tx) => {
      await tx.tokens.insert(token('t1', alive), token('t2', { ...alive, expiresAt: NOW }), token('t3'));
      await tx.tokens.insert(token('t4', { sealKid: 'k2', expiresAt: NOW + 2 }));
    });
    const { tokens } = store().read;
    expect(await tokens.get('t1')).toStrictEqual(token('t1', alive));
    expect([await tokens.aliveWithSeal('k1', NOW), await tokens.aliveWithSeal('k3', NOW)]).toEqual([1, 0]);
    expect(await tokens.lastExpiry()).toBe(NOW + 900_000);
  });

  test('no token has ended where there is none', async () => {
    expect(await store().read.tokens.lastExpiry()).toBe(0);
  });

  test('sealed credentials of a pool are read a page at a time, those of services without one left out', async () => {
    await store().transact(async (tx) => {
      for (const name of ['a', 'c']) await tx.services.insert(service(name));
      await tx.services.insert(service('b', { sealedCredential: undefined, credentialId: undefined }));
      await tx.services.insert(service('d', {}, 'eu'));
    });
    const { services } = store().read;
    const sealed = (name: string) => ({ name, sealedCredential: 'eyJ.a.b.c.d' });
    expect(await services.sealed('default', FIRST)).toStrictEqual([sealed('a'), sealed('c')]);
    expect(await services.sealed('default', { after: 'a', limit: 1 })).toStrictEqual([sealed('c')]);
  });
};
