// The contract of nodes and of the tokens by which they enrol.
import { expect, test } from 'vitest';
import type { NodeIdentity, NodeStore, Store } from '../../control-plane/store/interface.ts';
import { NOW } from './rows.ts';

export const nodeContract = (store: () => Store): void => {
  const identity = (name: string, more: Partial<NodeIdentity> = {}): NodeIdentity => ({
    ...{ name, pool: 'default', jwk: `{"x":"${name}"}`, enrolledAt: NOW, enrolledBy: 'admin' },
    ...more,
  });
  const said = (name: string) => ({
    ...{ name, version: 4, digest: 'd4', leaseExpiresAt: NOW + 1, nackVersion: 5, nackCode: 'snapshot_stale' },
    ...{ nackMessage: 'why', software: '0.1.0', reportedAt: NOW },
  });
  const silent = {
    ...{ version: 0, digest: '', leaseExpiresAt: 0, nackVersion: 0, nackCode: '' },
    ...{ nackMessage: '', software: '', reportedAt: 0, expelledAt: undefined },
  };
  const changeNodes = <T>(work: (nodes: NodeStore) => Promise<T>): Promise<T> =>
    store().transact(({ nodes }) => work(nodes));

  test('a node is enrolled once by its name, reports, and keeps its report when its key changes', async () => {
    await changeNodes(async (nodes) => {
      await expect(nodes.report(said('node-1'))).rejects.toMatchObject({ code: 'not_found' });
      await expect(nodes.replace(identity('node-1'))).rejects.toMatchObject({ code: 'not_found' });
      await nodes.insert(identity('node-1'));
    });
    expect(await store().read.nodes.get('node-1')).toStrictEqual({ ...identity('node-1'), ...silent });
    const again = changeNodes((nodes) => nodes.insert(identity('node-1')));
    await expect(again).rejects.toMatchObject({ code: 'already_exists' });
    await changeNodes((nodes) => nodes.report(said('node-1')));
    const moved = identity('node-1', { pool: 'eu', jwk: '{"x":2}', enrolledAt: NOW + 1, enrolledBy: '' });
    await changeNodes((nodes) => nodes.replace(moved));
    expect(await store().read.nodes.get('node-1')).toStrictEqual({ ...silent, ...said('node-1'), ...moved });
    expect(await store().read.nodes.get('node-2')).toBeUndefined();
  });

  test('a node that was expelled, or withdrawn, is known by name and key, and is not among those enrolled', async () => {
    await changeNodes(async (nodes) => {
      for (const name of ['a', 'b', 'c']) await nodes.insert(identity(name));
      expect(await nodes.expel('b', NOW + 5)).toBe(true);
      expect(await nodes.expel('b', NOW + 6)).toBe(false);
      expect(await nodes.expel('unknown', NOW)).toBe(false);
      await nodes.withdraw('c');
      for (const gone of ['b', 'c'])
        await expect(nodes.report(said(gone))).rejects.toMatchObject({ code: 'not_found' });
    });
    const { nodes } = store().read;
    expect((await nodes.ofPool('default')).map(({ name }) => name)).toEqual(['a']);
    expect(await nodes.count()).toBe(1);
    expect((await nodes.list({ after: undefined, limit: 2 })).map(({ name }) => name)).toEqual(['a', 'b']);
    expect((await nodes.list({ after: 'b', limit: 2 })).map(({ name }) => name)).toEqual(['c']);
    expect(await nodes.byKey('{"x":"b"}')).toMatchObject({ name: 'b', expelledAt: NOW + 5 });
    expect(await nodes.byKey('{"x":"d"}')).toBeUndefined();
    expect(await nodes.get('c')).toMatchObject({ enrolledAt: undefined, expelledAt: undefined });
  });

  test('pools are those of the nodes that are enrolled, each once and in order', async () => {
    expect(await store().read.nodes.pools()).toEqual([]);
    await changeNodes(async (nodes) => {
      for (const [name, pool] of [
        ['n3', 'us'],
        ['n2', 'eu'],
        ['n1', 'us'],
        ['n4', 'ap'],
      ] as const) {
        await nodes.insert(identity(name, { pool }));
      }
      await nodes.expel('n4', NOW);
    });
    expect(await store().read.nodes.pools()).toEqual(['eu', 'us']);
    expect((await store().read.nodes.ofPool('us')).map(({ name }) => name)).toEqual(['n1', 'n3']);
    expect(await store().read.nodes.ofPool('none')).toEqual([]);
  });

  test('an enrolment is used once, and found by its hash until it has ended', async () => {
    const row = (tokenHash: string, expiresAt: number) => ({
      ...{
        tokenHash,
        pool: 'eu',
        name: '',
        node: '',
        caller: 'admin',
        callerCreatedAt: NOW,
        createdAt: NOW,
        expiresAt,
      },
    });
    await store().transact(async ({ enrolments }) => {
      await enrolments.insert(row('a', NOW + 1));
      await enrolments.insert(row('b', NOW + 2));
      await enrolments.insert(row('c', NOW + 3));
      expect(await enrolments.use('b', 'edge-1')).toBe(true);
      expect(await enrolments.use('c', 'edge-1')).toBe(true);
      expect(await enrolments.use('c', 'edge-2')).toBe(false);
      expect(await enrolments.use('unknown', 'edge-2')).toBe(false);
      await enrolments.deleteEnded(NOW + 2);
    });
    const twice = store().transact(({ enrolments }) => enrolments.insert(row('c', NOW)));
    await expect(twice).rejects.toMatchObject({ code: 'already_exists' });
    const { enrolments } = store().read;
    expect(await Promise.all(['a', 'b', 'c'].map((hash) => enrolments.get(hash)))).toEqual([
      undefined,
      undefined,
      { ...row('c', NOW + 3), node: 'edge-1' },
    ]);
    expect(await enrolments.count()).toBe(1);
  });
};
