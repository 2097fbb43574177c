// The contract of snapshots: what each version held, and what leads from one to another.
import { compareEntries, type EntryChange } from '@daypass/core/snapshot';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { SnapshotStore, Store } from '../../control-plane/store/interface.ts';
import { snapshot } from './rows.ts';
import { FIRST } from './store.contract.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const put = (name: string, text: string, kind = 'service') => ({ kind, name, content: bytes(text) });
const drop = (name: string, kind = 'service') => ({ kind, name, content: undefined });

export const snapshotContract = (store: () => Store): void => {
  const read = (): SnapshotStore => store().read.snapshots;
  const add = (pool: string, version: number, ...changes: readonly EntryChange[]): Promise<void> =>
    store().transact((tx) => tx.snapshots.insert(snapshot(pool, version), changes));

  test('a snapshot comes back as it was stored, also one of a release that kept no signature', async () => {
    const unsigned = { signature: undefined, keyStatement: undefined, keySignature: undefined };
    const old = { ...snapshot('default', 1), ...unsigned, caller: '', method: '', subject: '' };
    await store().transact((tx) => tx.snapshots.insert(old, []));
    await add('default', 2);
    expect(await read().at('default', 1)).toStrictEqual(old);
    expect(await read().at('default', 2)).toStrictEqual(snapshot('default', 2));
    expect(await read().at('default', 3)).toBeUndefined();
    expect(await read().at('eu', 1)).toBeUndefined();
  });

  test('snapshots of a pool are listed from the newest, page by page', async () => {
    for (const version of [2, 10, 9]) await store().transact((tx) => tx.snapshots.insert(snapshot('a', version), []));
    await add('b', 11);
    const versions = async (after: number | undefined, limit: number) =>
      (await read().list('a', { after, limit })).map(({ version }) => version);
    expect(await versions(undefined, 2)).toEqual([10, 9]);
    expect(await versions(9, 2)).toEqual([2]);
    expect(await versions(2, 2)).toEqual([]);
  });

  test('each version has the entries that it was made with, and another pool has its own', async () => {
    await add('a', 1, put('x', '1'), put('y', '1'), put('x', '1', 'credential'));
    await add('b', 1, put('x', 'other'));
    await add('a', 2, put('x', '2'), drop('y'));
    await add('a', 5, put('y', '5'), drop('x', 'credential'));
    expect(await read().entriesAt('a', 1, FIRST)).toStrictEqual([
      put('x', '1', 'credential'),
      put('x', '1'),
      put('y', '1'),
    ]);
    expect(await read().entriesAt('a', 2, FIRST)).toStrictEqual([put('x', '1', 'credential'), put('x', '2')]);
    expect(await read().entriesAt('a', 5, FIRST)).toStrictEqual([put('x', '2'), put('y', '5')]);
    expect(await read().entriesAt('b', 1, FIRST)).toStrictEqual([put('x', 'other')]);
    expect(await read().entriesAt('none', 1, FIRST)).toEqual([]);
  });

  test('what leads from one version to another is what differs, forwards and backwards', async () => {
    await add('a', 1, put('x', '1'), put('y', '1'), put('z', '1'));
    await add('a', 2, put('x', '2'), drop('y'), put('z', '2'));
    await add('a', 3, put('z', '1'), put('w', '3'));
    await add('b', 2, put('q', '1'));
    const between = (from: number, to: number) => read().changesBetween('a', from, to);
    expect(await between(1, 2)).toStrictEqual([put('x', '2'), drop('y'), put('z', '2')]);
    // What was changed and changed back is left out.
    expect(await between(1, 3)).toStrictEqual([put('w', '3'), put('x', '2'), drop('y')]);
    expect(await between(3, 1)).toStrictEqual([drop('w'), put('x', '1'), put('y', '1')]);
    expect(await between(0, 2)).toStrictEqual([put('x', '2'), put('z', '2')]);
    expect(await between(2, 2)).toEqual([]);
  });

  test('what changed with each version is counted by kind', async () => {
    await add('a', 1, put('x', '1'), put('y', '1'), put('x', '1', 'credential'));
    await add('a', 2);
    await add('a', 3, put('x', '3'), drop('y'), put('z', '3'), drop('x', 'credential'));
    await add('a', 4, put('y', '4'));
    await add('b', 3, put('x', '1'));
    const none = { added: 0, changed: 0, removed: 0 };
    const third = [
      { version: 3, kind: 'credential', ...none, removed: 1 },
      { version: 3, kind: 'service', added: 1, changed: 1, removed: 1 },
    ];
    expect(await read().changeCounts('a', 2, 3)).toEqual(third);
    expect(await read().changeCounts('a', 1, 9)).toEqual([
      { version: 1, kind: 'credential', ...none, added: 1 },
      { version: 1, kind: 'service', ...none, added: 2 },
      ...third,
      { version: 4, kind: 'service', ...none, added: 1 },
    ]);
    expect(await read().changeCounts('none', 1, 9)).toEqual([]);
  });

  test('many entries are stored and read in parts, each once', async () => {
    const all = Array.from({ length: 4203 }, (_, i) => put(`s-${String(i).padStart(5, '0')}`, `${i}`));
    await add('a', 1, ...all);
    await add('a', 2, ...all.map(({ name }, i) => (i % 2 === 0 ? put(name, 'new') : drop(name))));
    expect(await read().changesBetween('a', 0, 1)).toStrictEqual(all);
    expect(await read().changesBetween('a', 1, 2)).toHaveLength(4203);
    expect(await read().changesBetween('a', 2, 1)).toStrictEqual(all);
    const seen: string[] = [];
    for (let after: { kind: string; name: string } | undefined, more = true; more; ) {
      const page = await read().entriesAt('a', 2, { after, limit: 100 });
      seen.push(...page.map(({ name }) => name));
      after = page.at(-1);
      more = page.length === 100;
    }
    expect(seen).toEqual(all.filter((_, i) => i % 2 === 0).map(({ name }) => name));
  });

  test('of any two versions, the changes between them lead from the entries of one to those of the other', async () => {
    let pool = 0;
    const change = fc.record({
      kind: fc.constantFrom('credential', 'service'),
      name: fc.constantFrom('a', 'a-b', 'b', 'c'),
      text: fc.option(fc.constantFrom('1', '2', ''), { nil: undefined }),
    });
    const versions = fc.array(
      fc.uniqueArray(change, { selector: ({ kind, name }) => `${kind} ${name}`, maxLength: 5 }),
      {
        minLength: 1,
        maxLength: 8,
      },
    );
    await fc.assert(
      fc.asyncProperty(versions, async (history) => {
        pool += 1;
        const held: ReadonlyMap<string, EntryChange>[] = [new Map()];
        for (const [at, changes] of history.entries()) {
          const made = changes.map(({ kind, name, text }) => ({
            kind,
            name,
            content: text === undefined ? text : bytes(text),
          }));
          held.push(apply(held[at] ?? new Map(), made));
          await add(`p${pool}`, at + 1, ...made);
        }
        for (const [version, entries] of held.entries()) {
          expect(await read().entriesAt(`p${pool}`, version, FIRST)).toStrictEqual(sorted(entries));
          for (const [from, before] of held.entries()) {
            const changes = await read().changesBetween(`p${pool}`, from, version);
            expect(sorted(apply(before, changes))).toStrictEqual(sorted(entries));
            expect(changes.filter((one) => isThere(before, one))).toEqual([]);
          }
        }
      }),
      { numRuns: 15 },
    );
  });

  test('old versions are forgotten a part at a time; those that stay are whole, and some of the newest stay however old', async () => {
    const prune = (issuedSince: number, least: number, limit: number, most = 100) =>
      store().transact((tx) => tx.snapshots.prune('a', { issuedSince, least, most }, limit));
    for (let version = 1; version <= 6; version += 1) {
      const changes = [put('x', `${version}`), ...(version === 1 ? [put('kept', '1')] : [])];
      await store().transact((tx) => tx.snapshots.insert({ ...snapshot('a', version), issuedAt: version }, changes));
    }
    await add('b', 1, put('x', 'other'));
    await add('b', 2, drop('x'));
    const kept = async () => (await read().list('a', FIRST)).map(({ version }) => version);
    expect(await prune(1, 1, 10)).toBe(0);
    expect(await prune(6, 6, 10)).toBe(0);
    expect(await prune(4, 1, 2)).toBe(4);
    expect(await kept()).toEqual([6, 5, 4, 3]);
    expect(await read().entriesAt('a', 3, FIRST)).toStrictEqual([put('kept', '1'), put('x', '3')]);
    expect(await read().changesBetween('a', 3, 6)).toStrictEqual([put('x', '6')]);
    expect(await prune(4, 1, 2)).toBe(2);
    expect(await prune(4, 1, 2)).toBe(0);
    expect(await kept()).toEqual([6, 5, 4]);
    // Too many, however young.
    expect(await prune(1, 1, 10, 2)).toBe(2);
    expect(await kept()).toEqual([6, 5]);
    for (let went = 1; went > 0; ) went = await prune(100, 1, 1);
    expect(await kept()).toEqual([6]);
    expect(await read().entriesAt('a', 6, FIRST)).toStrictEqual([put('kept', '1'), put('x', '6')]);
    // Nothing is left of the others.
    expect(await read().changesBetween('a', 6, 1)).toStrictEqual([drop('x')]);
    expect(await read().at('b', 1)).toBeDefined();
    expect(await read().changesBetween('b', 2, 1)).toStrictEqual([put('x', 'other')]);
    await expect(prune(1, 1, 0)).rejects.toMatchObject({ code: 'invalid_argument' });
    await expect(prune(1, 0, 1)).rejects.toMatchObject({ code: 'invalid_argument' });
  });
};

type Held = ReadonlyMap<string, EntryChange>;
const keyOf = ({ kind, name }: EntryChange): string => `${kind} ${name}`;

const apply = (held: Held, changes: readonly EntryChange[]): Held => {
  const next = new Map(held);
  for (const one of changes) {
    if (one.content === undefined) next.delete(keyOf(one));
    else next.set(keyOf(one), one);
  }
  return next;
};
const sorted = (held: Held): readonly EntryChange[] => [...held.values()].sort(compareEntries);
const isThere = (held: Held, { content, ...name }: EntryChange): boolean => {
  const known = held.get(keyOf({ ...name, content }))?.content;
  return known === undefined ? content === undefined : content !== undefined && Buffer.compare(known, content) === 0;
};
