// The contract of the operations of services.
import { expect, test } from 'vitest';
import type { OperationRow, Store } from '../../control-plane/store/interface.ts';
import { HOSTILE_TEXTS } from './rows.ts';
import { FIRST } from './store.contract.ts';

const operation = (id: string, changes: Partial<OperationRow> = {}): OperationRow => ({
  id,
  rule: `GET /${id}`,
  summary: `Gets ${id}`,
  ...changes,
});

export const operationContract = (store: () => Store): void => {
  const put = (service: string, rows: readonly OperationRow[]): Promise<void> =>
    store().transact((tx) => tx.operations.replaceAll(service, rows));
  const idsOf = async (...asked: Parameters<Store['read']['operations']['list']>): Promise<readonly string[]> =>
    (await store().read.operations.list(...asked)).map(({ id }) => id);

  test('operations come back as they were stored, in the byte order of their ids, of that service only', async () => {
    await put('a', [operation('b'), operation('B'), operation('a/b')]);
    await put('b', [operation('a')]);
    expect(await store().read.operations.list('a', {}, FIRST)).toStrictEqual([
      operation('B'),
      operation('a/b'),
      operation('b'),
    ]);
    expect(await store().read.operations.ids('a')).toEqual(['B', 'a/b', 'b']);
    expect(await idsOf('c', {}, FIRST)).toEqual([]);
  });

  test('those that come take the place of all that were there', async () => {
    await put('a', [operation('one'), operation('two')]);
    await put('b', [operation('one')]);
    await put('a', [operation('two', { rule: 'PUT /two' })]);
    expect(await store().read.operations.list('a', {}, FIRST)).toEqual([operation('two', { rule: 'PUT /two' })]);
    await store().transact((tx) => tx.operations.deleteAll('a'));
    expect(await store().read.operations.ids('a')).toEqual([]);
    expect(await store().read.operations.ids('b')).toEqual(['one']);
  });

  test('some are found by their ids, and ids that are not there are left out', async () => {
    await put('a', [operation('one'), operation('two')]);
    expect(await store().read.operations.get('a', ['two', 'TWO', 'three'])).toEqual([operation('two')]);
    expect(await store().read.operations.get('b', ['two'])).toEqual([]);
    expect(await store().read.operations.get('a', [])).toEqual([]);
    expect(await idsOf('a', { ids: ['two', 'three'] }, FIRST)).toEqual(['two']);
  });

  test('a text is looked for in id, rule and summary, in any case, and stands for itself', async () => {
    await put('a', [
      operation('x/Labels'),
      operation('y', { rule: 'POST /LABELS' }),
      operation('z', { summary: 'Ümlaut, 100% of_it' }),
    ]);
    expect(await idsOf('a', { contains: 'labels' }, FIRST)).toEqual(['x/Labels', 'y']);
    expect(await idsOf('a', { contains: 'ÜMLAUT' }, FIRST)).toEqual(['z']);
    expect(await idsOf('a', { contains: '100%' }, FIRST)).toEqual(['z']);
    expect(await idsOf('a', { contains: 'f_i' }, FIRST)).toEqual(['z']);
    expect(await idsOf('a', { contains: '%' }, FIRST)).toEqual(['z']);
    expect(await idsOf('a', { contains: '\\' }, FIRST)).toEqual([]);
    expect(await idsOf('a', { contains: 'y', ids: ['x/Labels'] }, FIRST)).toEqual([]);
  });

  test('10,000 operations are kept, listed a page at a time, and found', async () => {
    const ids = Array.from({ length: 10_000 }, (_, index) => `op${String(index).padStart(5, '0')}`);
    await put(
      'large',
      ids.map((id) => operation(id)),
    );
    const seen: string[] = [];
    for (let after: string | undefined, more = true; more; ) {
      const page = await idsOf('large', {}, { after, limit: 3000 });
      seen.push(...page);
      after = page.at(-1);
      more = page.length === 3000;
    }
    expect(seen).toEqual(ids);
    expect(await store().read.operations.get('large', ids)).toHaveLength(10_000);
  });

  test.each([0, -1, 1.5, Number.NaN, 10_001])('a page of %d operations is refused', async (limit) => {
    const refused = { code: 'invalid_argument' };
    await expect((async () => idsOf('a', {}, { after: undefined, limit }))()).rejects.toMatchObject(refused);
  });

  test.each(HOSTILE_TEXTS)('the text %j is kept in an operation as it is, wherever it stands', async (text) => {
    const row = { id: text, rule: text, summary: text };
    await put(text, [row]);
    expect(await store().read.operations.get(text, [text])).toEqual([row]);
    expect(await store().read.operations.list(text, { contains: text }, FIRST)).toEqual([row]);
    expect(await store().read.operations.get(`${text}x`, [text])).toEqual([]);
  });
};
