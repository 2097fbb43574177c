// The contract of minted tokens.
import { expect, test } from 'vitest';
import type { Store, TokenCursor, TokenFilter } from '../../control-plane/store/interface.ts';
import { NOW, token } from './rows.ts';
import { FIRST } from './store.contract.ts';

export const tokenContract = (store: () => Store): void => {
  const insert = (...rows: readonly ReturnType<typeof token>[]) =>
    store().transact(async (tx) => {
      for (const row of rows) await tx.tokens.insert(row);
    });
  const jtis = async (filter: TokenFilter) => (await store().read.tokens.list(filter, FIRST)).map(({ jti }) => jti);

  test('a token comes back as it was stored, and its id is taken once', async () => {
    const chain = { jkt: 'key', parents: ['t1', 't0'], actors: ['x', `'y'`] };
    const ended = { credentialId: 'c', revokedAt: NOW, allow: [], statusChunk: 70_000 };
    const rows = [token('t1'), token('t2', { ...ended, ...chain })];
    await insert(...rows);
    for (const row of rows) expect(await store().read.tokens.get(row.jti)).toStrictEqual(row);
    expect(await store().read.tokens.get('t3')).toBeUndefined();
    await expect(insert(token('t1', { service: 'other' }))).rejects.toMatchObject({ code: 'already_exists' });
    expect(await store().read.tokens.get('t1')).toEqual(token('t1'));
  });

  test('several tokens are found by their ids, those that are not there left out', async () => {
    await insert(...Array.from({ length: 600 }, (_, i) => token(`t${i}`, { statusIndex: i })));
    const found = await store().read.tokens.getMany([
      't3',
      'none',
      't599',
      ...Array.from({ length: 550 }, (_, i) => `t${i}`),
    ]);
    expect(new Set(found.map(({ jti }) => jti)).size).toBe(551);
    expect(found.find(({ jti }) => jti === 't599')).toStrictEqual(token('t599', { statusIndex: 599 }));
    expect(await store().read.tokens.getMany([])).toEqual([]);
  });

  test.each([
    [{}, ['d', 'c', 'b', 'a']],
    [{ service: 's2' }, ['c', 'b']],
    [{ client: 'x' }, ['c', 'a']],
    [{ caller: 'ci' }, ['b', 'a']],
    [{ aliveAt: NOW + 100 }, ['d', 'b']],
    [{ service: 's2', client: 'x' }, ['c']],
    [{ service: 's2', client: 'x', caller: 'app' }, ['c']],
    [{ service: 's2', client: 'x', caller: 'ci' }, []],
    [{ caller: 'ci', aliveAt: NOW + 100 }, ['b']],
    [{ service: '' }, []],
  ] as const)('the filter %j lists %j, newest first', async (filter, expected) => {
    await insert(
      token('b', { service: 's2', client: 'y', caller: 'ci', createdAt: NOW + 2, expiresAt: NOW + 101 }),
      token('a', { service: 's1', client: 'x', caller: 'ci', createdAt: NOW + 1, expiresAt: NOW + 100 }),
      token('d', { service: 's1', client: 'y', caller: 'app', createdAt: NOW + 3, expiresAt: NOW + 200 }),
      token('c', { service: 's2', client: 'x', caller: 'app', createdAt: NOW + 3, expiresAt: NOW + 50 }),
    );
    expect(await jtis(filter)).toEqual(expected);
  });

  test('pages hold every token once, though times are equal and new tokens come in between', async () => {
    await insert(...Array.from({ length: 25 }, (_, i) => token(`t${i + 10}`, { createdAt: NOW + Math.floor(i / 10) })));
    const seen: string[] = [];
    for (let after: TokenCursor | undefined, more = true; more; ) {
      const page = await store().read.tokens.list({ service: 'github' }, { after, limit: 4 });
      seen.push(...page.map(({ jti }) => jti));
      await insert(token(`new-${seen.length}`, { createdAt: NOW + 100 + seen.length }));
      after = page.at(-1);
      more = page.length === 4;
    }
    expect(seen).toHaveLength(25);
    expect(new Set(seen).size).toBe(25);
    expect(seen.slice(0, 2)).toEqual(['t34', 't33']);
  });

  test('a token is revoked once, and only one that is there', async () => {
    await insert(token('t1'), token('t2'));
    const revoke = (jti: string, at: number) => store().transact((tx) => tx.tokens.revoke(jti, at));
    expect(await revoke('t1', NOW + 1)).toBe(true);
    expect(await revoke('t1', NOW + 2)).toBe(false);
    expect(await revoke('none', NOW)).toBe(false);
    expect((await store().read.tokens.get('t1'))?.revokedAt).toBe(NOW + 1);
    expect((await store().read.tokens.get('t2'))?.revokedAt).toBeUndefined();
  });

  test('what is remembered of a token that is revoked is its place and its end alone', async () => {
    await store().transact(async (tx) => {
      await tx.tokens.insert(token('t1', { statusChunk: 3, statusIndex: 4, expiresAt: NOW + 10 }));
      expect(await tx.tokens.revoked(NOW)).toEqual([]);
      await tx.tokens.revoke('t1', NOW);
      expect(await tx.tokens.revoked(NOW)).toEqual([{ statusChunk: 3, statusIndex: 4, expiresAt: NOW + 10 }]);
    });
  });

  test('the status list hears of revoked tokens that have not ended', async () => {
    await insert(
      token('alive', { statusChunk: 1, statusIndex: 2, expiresAt: NOW + 10 }),
      token('revoked', { statusChunk: 3, statusIndex: 4, expiresAt: NOW + 10, revokedAt: NOW }),
      token('ended', { statusChunk: 5, statusIndex: 6, expiresAt: NOW, revokedAt: NOW }),
    );
    expect(await store().read.tokens.revoked(NOW)).toEqual([{ statusChunk: 3, statusIndex: 4, expiresAt: NOW + 10 }]);
    expect(await store().read.tokens.revoked(NOW + 10)).toEqual([]);
  });

  test('a status index is taken until its token ends, and chunks are counted apart', async () => {
    await insert(
      token('a', { statusChunk: 1, statusIndex: 5, expiresAt: NOW + 10 }),
      token('b', { statusChunk: 1, statusIndex: 6, expiresAt: NOW + 20 }),
      token('c', { statusChunk: 2, statusIndex: 6, expiresAt: NOW + 20 }),
    );
    const { tokens } = store().read;
    expect(await tokens.indicesTaken(1, [4, 5], NOW)).toEqual([5]);
    expect(await tokens.indicesTaken(1, [5], NOW + 10)).toEqual([]);
    expect(await tokens.indicesTaken(2, [5], NOW)).toEqual([]);
    expect(await tokens.aliveInChunk(1, NOW)).toBe(2);
    expect(await tokens.aliveInChunk(1, NOW + 10)).toBe(1);
    expect(await tokens.aliveInChunk(3, NOW)).toBe(0);
  });
};
