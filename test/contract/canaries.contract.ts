// The contract of canaries: the newest of each pool, snapshots for some nodes, and requests counted by node.
import { expect, test } from 'vitest';
import type { AuditStore, CanaryRow, Store } from '../../control-plane/store/interface.ts';
import { event, NOW, service, snapshot } from './rows.ts';

const canary = (pool: string, changes: Partial<CanaryRow> = {}): CanaryRow => ({
  ...{ pool, id: 'c1', nodes: ['node-1', 'node-2'], service: 'github', caller: 'ci' },
  ...{ method: 'ServiceRegistry/Update', subject: 'services/github', version: 7, startedAt: NOW },
  ...{ promoteAt: undefined, requestsBefore: 3, badBefore: 1, endedAt: undefined, ending: '', why: '' },
  change: { after: service('github'), operations: [{ id: 'a', rule: 'GET /a', summary: '' }] },
  ...changes,
});

export const canaryContract = (store: () => Store): void => {
  test('a canary comes back as it was stored, and a later one of its pool takes its place', async () => {
    const { transact, read } = store();
    expect(await read.canaries.get('a')).toBeUndefined();
    await transact((tx) => tx.canaries.put(canary('b')));
    await transact((tx) => tx.canaries.put(canary('a')));
    expect(await read.canaries.get('a')).toEqual(canary('a'));
    const ended = { id: 'c2', promoteAt: NOW, endedAt: NOW, ending: 'taken_back', why: 'x', change: {} } as const;
    await transact((tx) => tx.canaries.put(canary('a', ended)));
    expect(await read.canaries.get('a')).toEqual(canary('a', ended));
    const { change: _, ...first } = canary('a', ended);
    const { change: __, ...second } = canary('b');
    expect(await read.canaries.list()).toEqual([first, second]);
  });

  test('the newest snapshot for all is not one for some', async () => {
    const { transact, read } = store();
    const add = (version: number, nodes?: readonly string[]) =>
      transact((tx) => tx.snapshots.insert({ ...snapshot('a', version), nodes }, []));
    expect(await read.snapshots.latestForAll('a')).toBeUndefined();
    await add(1);
    await add(2, ['node-1']);
    expect((await read.snapshots.latest('a'))?.nodes).toEqual(['node-1']);
    expect((await read.snapshots.latestForAll('a'))?.version).toBe(1);
    await add(3);
    expect((await read.snapshots.latestForAll('a'))?.version).toBe(3);
  });

  test('requests of a service are counted by node, bad ones and those from a version on apart', async () => {
    const add = (seq: number, changes: Parameters<typeof event>[1]) =>
      store().transact((tx) =>
        tx.audit.insertEvents([event(`d${seq}`, { seq, service: 'github', time: NOW + seq, ...changes })]),
      );
    const allowed = { outcome: 'allowed', status: 200, latencyMicros: 1 } as const;
    await add(1, { ...allowed, node: 'a', snapshotVersion: 6 });
    await add(2, { ...allowed, node: 'a', snapshotVersion: 7 });
    await add(3, { ...allowed, node: 'a', snapshotVersion: 7, status: 401 });
    await add(4, { ...allowed, node: 'a', snapshotVersion: 7, status: 404 });
    await add(5, { ...allowed, node: 'b', snapshotVersion: 7, status: 503 });
    await add(6, { outcome: 'refused', node: 'b', snapshotVersion: 5, count: 4 });
    await add(7, { outcome: 'failed', node: 'b', snapshotVersion: 7, status: 502, latencyMicros: 1 });
    await add(8, { outcome: 'pending', node: 'b', snapshotVersion: 7 });
    await add(9, { ...allowed, node: 'a', snapshotVersion: 7, service: 'other' });
    const tally = (changes: Partial<Parameters<AuditStore['tally']>[0]> = {}) =>
      store().read.audit.tally({ service: 'github', since: NOW, until: NOW + 100, version: 7, ...changes });
    const sorted = async (...args: Parameters<typeof tally>) =>
      (await tally(...args)).toSorted((x, y) => (x.node < y.node ? -1 : 1));
    expect(await sorted()).toEqual([
      { node: 'a', requests: 4, bad: 1, requestsFrom: 3, badFrom: 1 },
      { node: 'b', requests: 7, bad: 6, requestsFrom: 3, badFrom: 2 },
    ]);
    expect(await sorted({ since: NOW + 3, until: NOW + 6 })).toEqual([
      { node: 'a', requests: 2, bad: 1, requestsFrom: 2, badFrom: 1 },
      { node: 'b', requests: 1, bad: 1, requestsFrom: 1, badFrom: 1 },
    ]);
    expect(await tally({ service: 'none' })).toEqual([]);
  });

  test('of very many requests the newest are counted, all outcomes over the same time', async () => {
    const many = Array.from({ length: 5300 }, (_, at) =>
      event(`m${at}`, {
        ...{ seq: at + 1, service: 'github', time: NOW + at, node: 'a' },
        ...(at % 26 === 0
          ? { outcome: 'refused' as const }
          : { outcome: 'allowed' as const, status: 200, latencyMicros: 1 }),
      }),
    );
    const oldest = event('old', { seq: 6000, service: 'github', time: NOW - 1, node: 'a', outcome: 'refused' });
    await store().transact((tx) => tx.audit.insertEvents([oldest, ...many]));
    const [all] = await store().read.audit.tally({ service: 'github', since: 0, until: NOW + 9999, version: 0 });
    expect(all).toEqual({ node: 'a', requests: 5200, bad: 200, requestsFrom: 5200, badFrom: 200 });
  });
};
