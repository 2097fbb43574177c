// What every store has to do, whatever database is behind it. One suite, run on each.
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Store } from '../../control-plane/store/interface.ts';
import { auditContract } from './audit.contract.ts';
import { canaryContract } from './canaries.contract.ts';
import { keyContract } from './keys.contract.ts';
import { nodeContract } from './nodes.contract.ts';
import { operationContract } from './operations.contract.ts';
import { registryContract } from './registry.contract.ts';
import { caller, NOW, record, service, token } from './rows.ts';
import { snapshotContract } from './snapshots.contract.ts';
import { tokenContract } from './token.contract.ts';

/** A new, empty store, and the way to open the same one again. */
export type OpenedStore = { readonly store: Store; again(): Promise<Store> };

/** The first page of an order, as large as the tests need. */
export const FIRST = { after: undefined, limit: 1000 } as const;

/** Runs the contract on the stores that `open` makes; `open` also sees to it that they go away. */
export const storeContract = (name: string, open: () => Promise<OpenedStore>): void => {
  describe(name, () => {
    let opened: OpenedStore;
    beforeEach(async () => {
      opened = await open();
    });
    afterEach(async () => {
      await opened.store.close();
    });
    const store = () => opened.store;
    describe('transactions', () => transactionContract(() => opened));
    describe('registry', () => registryContract(store));
    describe('nodes', () => nodeContract(store));
    describe('operations', () => operationContract(store));
    describe('snapshots', () => snapshotContract(store));
    describe('tokens', () => tokenContract(store));
    describe('keys', () => keyContract(store));
    describe('canaries', () => canaryContract(store));
    describe('audit', () => auditContract(store));
  });
};

const transactionContract = (opened: () => OpenedStore): void => {
  const { transact, read } = {
    transact: ((work) => opened().store.transact(work)) satisfies Store['transact'] as Store['transact'],
    read: () => opened().store.read,
  };

  test('a transaction returns what its work returns, and is seen when it has ended', async () => {
    expect(await transact(async (tx) => tx.services.insert(service('a')).then(() => 42))).toBe(42);
    expect(await read().services.get('a')).toEqual(service('a'));
  });

  test('a transaction sees its own writes; others see none of them before it ends', async () => {
    await transact(async (tx) => {
      await tx.services.insert(service('a'));
      expect(await tx.services.get('a')).toBeDefined();
      expect(await read().services.get('a')).toBeUndefined();
    });
    expect(await read().services.get('a')).toBeDefined();
  });

  test('all of a transaction is rolled back when its work throws, and the thrown error comes out as it is', async () => {
    const thrown = new Error('stop');
    const work = transact(async (tx) => {
      await tx.services.insert(service('a'));
      await tx.callers.put(caller('c'));
      await tx.audit.insertRecords([record('node-1', 1)]);
      throw thrown;
    });
    await expect(work).rejects.toBe(thrown);
    expect(await read().services.list(FIRST)).toEqual([]);
    expect(await read().callers.list(FIRST)).toEqual([]);
    expect(await read().audit.last('node-1')).toBeUndefined();
  });

  test('a refused statement fails its transaction and not the next one', async () => {
    await transact((tx) => tx.services.insert(service('a')));
    const work = transact(async (tx) => {
      await tx.services.insert(service('b'));
      await tx.services.insert(service('a'));
    });
    await expect(work).rejects.toMatchObject({ code: 'already_exists' });
    await transact((tx) => tx.services.insert(service('c')));
    expect((await read().services.list(FIRST)).map(({ name }) => name)).toEqual(['a', 'c']);
  });

  test('concurrent transactions take turns and none is lost', async () => {
    await transact((tx) => tx.callers.insert(caller('counter', { createdAt: 0, services: [] })));
    const increase = (index: number) =>
      transact(async (tx) => {
        const row = await tx.callers.get('counter');
        await tx.nodes.pools();
        await tx.callers.put(caller('counter', { services: [...(row?.services ?? []), String(index)] }));
      });
    await Promise.all(Array.from({ length: 100 }, (_, index) => increase(index)));
    const counted = (await read().callers.get('counter'))?.services ?? [];
    expect([...counted].sort((a, b) => Number(a) - Number(b))).toEqual(
      Array.from({ length: 100 }, (_, i) => String(i)),
    );
  });

  test('statements sent at once within a transaction all belong to it', async () => {
    const names = Array.from({ length: 30 }, (_, index) => `s${String(index).padStart(2, '0')}`);
    await transact((tx) => Promise.all(names.map((name) => tx.services.insert(service(name)))));
    expect((await read().services.list(FIRST)).map(({ name }) => name)).toEqual(names);
  });

  test('what a failed transaction still sends is neither stored nor put into the next one', async () => {
    const late: Promise<unknown>[] = [];
    const failed = transact(async (tx) => {
      late.push(...['x', 'y', 'z'].map((name) => tx.services.insert(service(name)).catch(() => {})));
      await Promise.reject(new Error('stop'));
    });
    const next = transact((tx) => tx.services.insert(service('kept')));
    await expect(failed).rejects.toThrow('stop');
    await Promise.all([next, ...late]);
    expect((await read().services.list(FIRST)).map(({ name }) => name)).toEqual(['kept']);
  });

  test('a transaction that has ended takes no more statements', async () => {
    const tx = await transact(async (ended) => ended);
    await expect(tx.services.insert(service('late'))).rejects.toThrow();
    expect(await read().services.get('late')).toBeUndefined();
  });

  test('reads go on beside a transaction that is under way', async () => {
    await transact((tx) => tx.tokens.insert(token('t1')));
    await transact(async (tx) => {
      await tx.tokens.revoke('t1', NOW);
      const seen = await Promise.all(Array.from({ length: 20 }, () => read().tokens.get('t1')));
      expect(seen.every((row) => row?.revokedAt === undefined)).toBe(true);
    });
    expect((await read().tokens.get('t1'))?.revokedAt).toBe(NOW);
  });

  test('what was stored is there when the store is opened again', async () => {
    await transact((tx) => tx.services.insert(service('a')));
    await opened().store.close();
    const again = await opened().again();
    expect(await again.read.services.get('a')).toEqual(service('a'));
    await again.close();
  });

  test('a store answers ping until it is closed, and then refuses everything', async () => {
    const { store } = opened();
    await expect(store.ping()).resolves.toBeUndefined();
    await store.close();
    await store.close();
    const refused = { code: 'database_unavailable' };
    await expect(store.ping()).rejects.toMatchObject(refused);
    await expect(store.read.services.get('a')).rejects.toMatchObject(refused);
    await expect(store.transact((tx) => tx.services.get('a'))).rejects.toMatchObject(refused);
  });

  test('a key can be taken, again when its time is over', async () => {
    const { store } = opened();
    expect(await store.takeOnce('k', 0, 1000)).toBe(true);
    expect(await store.takeOnce('other', 0, 1000)).toBe(true);
    expect(await store.takeOnce('k', 1001, 2000)).toBe(true);
  });

  test('closing waits for the transaction that is under way', async () => {
    const { store, again } = opened();
    let closed: Promise<void> | undefined;
    await store.transact(async (tx) => {
      closed = store.close();
      await tx.services.insert(service('a'));
    });
    await closed;
    const reopened = await again();
    expect(await reopened.read.services.get('a')).toBeDefined();
    await reopened.close();
  });
};
