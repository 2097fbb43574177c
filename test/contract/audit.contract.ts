// The contract of the audit: chains stored exactly once, and events that can be asked for.
import { expect, test } from 'vitest';
import type { AuditCursor, AuditEventFilter, AuditOutcomeRow, Store } from '../../control-plane/store/interface.ts';
import { event, HOSTILE_TEXTS, NOW, outcome, record } from './rows.ts';
import { FIRST } from './store.contract.ts';

export const auditContract = (store: () => Store): void => {
  recordContract(store);
  joinContract(store);
  queryContract(store);
};

const recordContract = (store: () => Store): void => {
  const insert = (...rows: readonly ReturnType<typeof record>[]) =>
    store().transact((tx) => tx.audit.insertRecords(rows));

  test('the end and the hashes of a chain are of that node alone', async () => {
    await insert(record('a', 1), record('a', 2), record('a', 10), record('b', 3));
    const { audit } = store().read;
    expect(await audit.last('a')).toEqual({ seq: 10, hash: 'hash 10' });
    expect(await audit.last('b')).toEqual({ seq: 3, hash: 'hash 3' });
    expect(await audit.last('c')).toBeUndefined();
    expect([...(await audit.hashes('a', 2, 10))]).toEqual([
      [2, 'hash 2'],
      [10, 'hash 10'],
    ]);
    expect([...(await audit.hashes('a', 3, 9))]).toEqual([]);
    expect(Buffer.from((await audit.bytes('a', 10)) ?? [])).toEqual(Buffer.from(record('a', 10).bytes));
    expect(await audit.bytes('a', 3)).toBeUndefined();
  });

  test('records of a range come in order, so many at most, and events by their decisions', async () => {
    const rows = [3, 1, 2, 5].map((seq) => ({ ...record('a', seq), bytes: new Uint8Array([seq]) }));
    await insert(...rows, record('b', 2));
    const seqs = async (first: number, last: number, limit: number) =>
      (await store().read.audit.records('a', first, last, limit)).map(([seq]) => seq);
    expect(await seqs(2, 5, 10)).toEqual([2, 3, 5]);
    expect(await seqs(1, 9, 2)).toEqual([1, 2]);
    await store().transact((tx) =>
      tx.audit.insertEvents([event('d1'), event('d1', { seq: 2 }), event('d2', { seq: 3 })]),
    );
    const found = await store().read.audit.ofDecisions(['d1', 'none']);
    expect(found.toSorted((x, y) => x.seq - y.seq)).toStrictEqual([event('d1'), event('d1', { seq: 2 })]);
    expect(await store().read.audit.ofDecisions([])).toEqual([]);
  });

  test('a record that comes twice is stored once', async () => {
    await insert(record('a', 1), record('a', 2));
    await insert(record('a', 2), record('a', 3), record('a', 3));
    expect([...(await store().read.audit.hashes('a', 0, 9)).keys()]).toEqual([1, 2, 3]);
  });

  test('a record that differs from the stored one is refused, and nothing of its batch is stored', async () => {
    await insert(record('a', 1));
    const conflict = { code: 'audit_conflict' };
    await expect(insert(record('a', 2), record('a', 1, 'forged'))).rejects.toMatchObject(conflict);
    await expect(insert(record('a', 5), record('a', 5, 'other'))).rejects.toMatchObject(conflict);
    expect([...(await store().read.audit.hashes('a', 0, 9))]).toEqual([[1, 'hash 1']]);
  });

  test('a batch of 20,000 records and 5,000 events goes in whole, and nothing of none', async () => {
    const records = Array.from({ length: 20_000 }, (_, index) => record('a', index + 1));
    const events = Array.from({ length: 5_000 }, (_, index) => event(`d${index}`, { seq: index, time: NOW + index }));
    await store().transact(async ({ audit }) => {
      await audit.insertRecords(records);
      await audit.insertEvents(events);
      await audit.complete(events.map(({ decisionId }) => outcome(decisionId)));
      await audit.insertRecords([]);
      await audit.insertEvents([]);
      await audit.complete([]);
    });
    expect((await store().read.audit.hashes('a', 1, 20_000)).size).toBe(20_000);
    const page = await store().read.audit.query({ outcome: 'allowed' }, { after: undefined, limit: 10_000 });
    expect(page.map(({ seq }) => seq)).toEqual(events.map(({ seq }) => seq).reverse());
  });
};

const joinContract = (store: () => Store): void => {
  const decided = (...rows: readonly ReturnType<typeof event>[]) =>
    store().transact((tx) => tx.audit.insertEvents(rows));
  const ended = (...rows: readonly AuditOutcomeRow[]) => store().transact((tx) => tx.audit.complete(rows));
  const stored = async () => (await store().read.audit.query({}, FIRST)).map(({ id: _, ...row }) => row);

  test('an event comes back as it was stored', async () => {
    const row = event('d1', {
      kind: 'change',
      outcome: 'refused',
      reason: 'scope_refused',
      count: 7,
      source: '192.0.2.0/24',
    });
    await decided(row);
    expect(await stored()).toStrictEqual([row]);
  });

  test.each(['after', 'before'])('an outcome that comes %s its decision completes it', async (order) => {
    if (order === 'after') await decided(event('d1'), event('d2'));
    await ended(outcome('d1'));
    if (order === 'before') await decided(event('d1'), event('d2'));
    expect(await stored()).toEqual([event('d2'), { ...event('d1'), ...outcome('d1') }]);
  });

  test('a NUL in what a node says stands as another character, in the event, not in the record', async () => {
    const bytes = new TextEncoder().encode('{"path":"/a\0b"}');
    await store().transact(async ({ audit }) => {
      await audit.insertRecords([{ ...record('a', 1), bytes }]);
      await audit.insertEvents([event('d\0', { path: '/a\0b', principal: '\0' })]);
      await audit.complete([outcome('d\0')]);
      const change = { ...event('c\0'), kind: 'change' as const, time: NOW + 1 };
      await audit.append([{ record: { ...record('', 1), bytes }, event: change }]);
    });
    expect(await store().read.audit.bytes('a', 1)).toEqual(Buffer.from(bytes));
    expect(await store().read.audit.bytes('', 1)).toEqual(Buffer.from(bytes));
    const [changed, asked] = await stored();
    expect(changed?.decisionId).toBe('c\ufffd');
    expect(asked).toMatchObject({ decisionId: 'd\ufffd', path: '/a\ufffdb', principal: '\ufffd', outcome: 'allowed' });
  });

  test('an event is stored once, and its first outcome stays', async () => {
    await decided(event('d1'));
    await ended(outcome('d1', { status: 201 }), outcome('d1', { status: 202 }));
    await decided(event('d1'));
    await ended(outcome('d1', { outcome: 'refused', status: 403 }));
    await decided(event('d1'));
    expect(await stored()).toEqual([{ ...event('d1'), ...outcome('d1', { status: 201 }) }]);
  });

  test("a refusal keeps its decision's reason when its outcome gives none", async () => {
    await decided(event('d1', { outcome: 'refused', reason: 'scope_refused' }), event('d2'));
    await ended(
      outcome('d1', { outcome: 'refused', status: 403 }),
      outcome('d2', { outcome: 'failed', status: 504, reason: 'upstream_timeout' }),
    );
    const reasons = new Map((await stored()).map(({ decisionId, reason }) => [decisionId, reason]));
    expect(reasons).toEqual(
      new Map([
        ['d1', 'scope_refused'],
        ['d2', 'upstream_timeout'],
      ]),
    );
  });

  test("a node completes only its own decisions, and hides no other node's event by its id", async () => {
    await decided(event('d1', { node: 'node-1' }));
    await ended(outcome('d1', { node: 'node-2' }));
    expect(await stored()).toEqual([event('d1')]);
    await decided(event('d1', { node: 'node-2' }), event('d1', { node: 'node-1', seq: 9 }));
    expect((await stored()).map(({ node, seq, outcome: result }) => [node, seq, result])).toEqual([
      ['node-1', 9, 'pending'],
      ['node-2', 1, 'allowed'],
      ['node-1', 1, 'pending'],
    ]);
  });

  test('an outcome of a transaction that failed completes nothing later', async () => {
    const failed = store().transact(async (tx) => {
      await tx.audit.complete([outcome('d1')]);
      throw new Error('stop');
    });
    await expect(failed).rejects.toThrow('stop');
    await decided(event('d1'));
    expect(await stored()).toEqual([event('d1')]);
  });
};

const queryContract = (store: () => Store): void => {
  const decided = (...rows: readonly ReturnType<typeof event>[]) =>
    store().transact((tx) => tx.audit.insertEvents(rows));
  const ids = async (filter: AuditEventFilter) =>
    (await store().read.audit.query(filter, FIRST)).map(({ decisionId }) => decisionId);

  test.each<[AuditEventFilter, readonly string[]]>([
    [{}, ['e', 'd', 'c', 'b', 'a']],
    [{ kind: 'request' }, ['d', 'c', 'b', 'a']],
    [{ kind: 'change' }, ['e']],
    [{ service: 's1' }, ['e', 'c', 'a']],
    [{ kind: 'request', service: 's1' }, ['c', 'a']],
    [{ client: 'x' }, ['d', 'c']],
    [{ jti: 'j1' }, ['e', 'a']],
    [{ outcome: 'refused' }, ['d', 'b']],
    [{ outcome: 'pending' }, ['a']],
    [{ service: 's1', outcome: 'allowed' }, ['e', 'c']],
    [{ service: 's2', client: 'x', jti: 'j2' }, ['d']],
    [{ service: 's2', client: 'x', jti: 'j1' }, []],
    [{ since: NOW + 2 }, ['e', 'd', 'c']],
    [{ until: NOW + 2 }, ['b', 'a']],
    [{ since: NOW + 1, until: NOW + 3 }, ['c', 'b']],
    [{ since: NOW + 3, until: NOW + 3 }, []],
    [{ decisionId: 'c' }, ['c']],
    [{ decisionId: 'c', service: 's2' }, []],
    [{ decisionId: 'c', kind: 'request', outcome: 'allowed', since: NOW + 2 }, ['c']],
    [{ decisionId: 'c', until: NOW + 2 }, []],
    [{ kind: 'request', service: 's1', client: 'x', outcome: 'allowed', since: NOW, until: NOW + 9 }, ['c']],
  ])('the filter %j finds %j, newest first', async (filter, expected) => {
    await decided(
      event('a', { service: 's1', client: 'y', jti: 'j1', outcome: 'pending', time: NOW }),
      event('c', { service: 's1', client: 'x', jti: 'j3', outcome: 'allowed', time: NOW + 2 }),
      event('b', { service: 's2', client: 'y', jti: 'j2', outcome: 'refused', time: NOW + 1 }),
      event('d', { service: 's2', client: 'x', jti: 'j2', outcome: 'refused', time: NOW + 3 }),
      event('e', {
        service: 's1',
        client: 'z',
        jti: 'j1',
        outcome: 'allowed',
        time: NOW + 4,
        kind: 'change',
        node: '',
      }),
    );
    expect(await ids(filter)).toEqual(expected);
  });

  test('pages hold every event once, though times are equal, outcomes arrive and new events come in between', async () => {
    const outcomes = ['allowed', 'refused', 'failed', 'pending'] as const;
    await decided(
      ...Array.from({ length: 50 }, (_, i) =>
        event(`d${i}`, {
          seq: i,
          time: NOW + Math.floor(i / 20),
          kind: i % 3 === 0 ? 'change' : 'request',
          outcome: outcomes[i % 4] ?? 'pending',
        }),
      ),
    );
    const seen: number[] = [];
    for (let after: AuditCursor | undefined, more = true; more; ) {
      const page = await store().read.audit.query({}, { after, limit: 7 });
      seen.push(...page.map(({ seq }) => seq));
      await decided(event(`new-${seen.length}`, { time: NOW + 1000, seq: 1000 + seen.length }));
      await store().transact((tx) => tx.audit.complete([outcome('d3'), outcome('d7')]));
      after = page.at(-1);
      more = page.length === 7;
    }
    expect(seen).toEqual(Array.from({ length: 50 }, (_, i) => 49 - i));
  });

  test('row numbers rise with every event, in the order of arrival', async () => {
    await decided(event('late', { time: NOW }), event('early', { time: NOW - 1000 }));
    const [late, early] = await store().read.audit.query({}, FIRST);
    expect(late?.decisionId).toBe('late');
    expect(early?.id).toBeGreaterThan(late?.id ?? Number.POSITIVE_INFINITY);
  });

  test.each(HOSTILE_TEXTS)('the text %j is found as it is and finds nothing else', async (text) => {
    await decided(
      event(`d${text}`, { service: text, client: text, jti: text, path: text }),
      event('other', { service: 'x', client: 'y', jti: 'z', seq: 2 }),
    );
    for (const filter of [
      { service: text },
      { client: text },
      { jti: text },
      { jti: text, client: text, service: text },
    ]) {
      expect(await ids(filter)).toEqual([`d${text}`]);
    }
    expect(await ids({ decisionId: `d${text}`, service: text })).toEqual([`d${text}`]);
  });
};
