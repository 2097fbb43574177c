// Parts that a running server shows too slowly: places in the status lists, a follower that falls behind, waiting.
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createAuditFeed } from '../../control-plane/domain/audit-feed.ts';
import { createTail } from '../../control-plane/domain/audit-tail.ts';
import { createNotifier } from '../../control-plane/domain/notifier.ts';
import { createStatusPlaces } from '../../control-plane/domain/status-index.ts';
import type { AuditEventRow, Store, TokenRow } from '../../control-plane/store/interface.ts';
import { openStore } from '../../control-plane/store/open.ts';
import { makeHome } from './fixture.ts';

const withStore = async (work: (store: Store) => Promise<void>): Promise<void> => {
  const home = await makeHome();
  const store = await openStore({ url: `sqlite:${join(home.path, 'test.db')}` });
  try {
    await work(store);
  } finally {
    await store.close();
    await home.remove();
  }
};

const token = (extra: Partial<TokenRow>): TokenRow => ({
  jti: 'jti',
  service: 's',
  client: 'c',
  subject: 'c',
  caller: 'b',
  allow: [],
  credentialId: undefined,
  jkt: undefined,
  parents: [],
  actors: [],
  statusChunk: 0,
  statusIndex: 0,
  createdAt: 0,
  expiresAt: 1000,
  revokedAt: undefined,
  ...extra,
});

test('a status index is used again only when no honoured snapshot can hold the bit of the token before', () =>
  withStore(async (store) => {
    const takeAt = (now: number) => {
      let next = 10;
      const draws = [7, 7, 9];
      const places = createStatusPlaces({ now: () => now, random: () => draws.shift() ?? next++, restMs: 500 });
      return store.transact((tx) => places.take(tx, 1));
    };
    await store.transact((tx) => tx.tokens.insert(token({ statusIndex: 7, expiresAt: 1000 })));
    expect(await takeAt(1400)).toEqual([{ chunk: 0, index: 9 }]);
    expect(await takeAt(1501)).toEqual([{ chunk: 0, index: 7 }]);
  }));

test('a chunk is at most half full, and when all are, no token is minted', () =>
  withStore(async (store) => {
    let next = 0;
    const places = createStatusPlaces({ now: () => 0, random: () => next++, restMs: 0 });
    const crowd = (alive: (chunk: number) => number) => ({
      ...store.read,
      tokens: { ...store.read.tokens, aliveInChunk: async (chunk: number) => alive(chunk) },
    });
    const oneFull = crowd((chunk) => (chunk === 0 ? 32768 : 0));
    expect(await places.take(oneFull, 1)).toEqual([{ chunk: 1, index: 0 }]);
    const three = [1, 2, 3].map((index) => ({ chunk: 1, index }));
    expect(await places.take(oneFull, 3)).toEqual(three);
    const fresh = createStatusPlaces({ now: () => 0, random: () => 0, restMs: 0 });
    await expect(
      fresh.take(
        crowd(() => 32768),
        1,
      ),
    ).rejects.toMatchObject({ code: 'overloaded' });
  }));

test('places that are looked for together are of different tokens, also where they fill what a chunk had room for', async () => {
  const taken = new Set<number>();
  let drawn = 1;
  const random = (): number => {
    drawn = (drawn * 1103515245 + 12345) % 2 ** 31;
    return (drawn >>> 8) % 1000;
  };
  await withStore(async (store) => {
    const tx = {
      ...store.read,
      epoch: {},
      tokens: {
        ...store.read.tokens,
        aliveInChunk: async () => 32768 - 200 + taken.size,
        indicesTaken: async (_chunk: number, indices: readonly number[]) => indices.filter((index) => taken.has(index)),
      },
    };
    const places = createStatusPlaces({ now: () => 0, random, restMs: 0 });
    for (let minted = 0; minted < 400; minted += 1) {
      for (const { index } of await places.take(tx, 1)) {
        expect(taken).not.toContain(index);
        taken.add(index);
      }
    }
  });
});

const event = (seq: number, extra: Partial<AuditEventRow> = {}): AuditEventRow => ({
  decisionId: `d${seq}`,
  kind: 'request',
  time: seq,
  node: 'node-1',
  seq,
  outcome: 'pending',
  reason: '',
  jti: '',
  client: '',
  principal: '',
  caller: '',
  service: '',
  method: '',
  path: '',
  rule: '',
  credentialId: '',
  status: 0,
  requestBytes: 0,
  responseBytes: 0,
  latencyMicros: 0,
  snapshotVersion: 0,
  count: 1,
  source: '',
  ...extra,
});

test('a follower that falls behind catches up from the store, and gets each state of each event once', () =>
  withStore(async (store) => {
    const feed = createAuditFeed(10);
    const stop = new AbortController();
    const tail = createTail({ read: store.read, feed, heartbeatMs: 20 })({ kind: 'request' }, stop.signal);
    const store1 = async (events: readonly AuditEventRow[]): Promise<void> => {
      await store.transact((tx) => tx.audit.insertEvents(events));
      feed.publish(events);
    };
    const seen: string[] = [];
    const take = async (count: number): Promise<void> => {
      while (seen.length < count) {
        const { value, done } = await tail.next();
        if (done) throw new Error('the tail has ended');
        if (value !== undefined) seen.push(`${value.seq}:${value.outcome}`);
      }
    };
    await tail.next();
    await store1([event(1), event(2)]);
    await take(2);
    // More than the queue holds, in many batches; and an early event gets its outcome among them.
    for (let seq = 3; seq <= 40; seq += 1) await store1([event(seq)]);
    const done = { decisionId: 'd1', node: 'node-1', outcome: 'allowed', reason: '', status: 200 } as const;
    await store.transact((tx) => tx.audit.complete([{ ...done, requestBytes: 0, responseBytes: 0, latencyMicros: 1 }]));
    feed.publish([event(1, { outcome: 'allowed', status: 200, latencyMicros: 1 })]);
    await take(41);
    expect([...seen].sort()).toEqual([...Array.from({ length: 40 }, (_, i) => `${i + 1}:pending`), '1:allowed'].sort());
    // Nothing more comes but a sign of life.
    expect(await tail.next()).toEqual({ value: undefined, done: false });
    stop.abort();
    await tail.return(undefined);
    expect(feed.listening()).toBe(false);
  }));

test('too many followers are refused, and one that leaves makes room', () => {
  const feed = createAuditFeed();
  const followers = Array.from({ length: 64 }, () => feed.subscribe());
  expect(() => feed.subscribe()).toThrow(expect.objectContaining({ code: 'overloaded' }));
  followers[0]?.close();
  expect(() => feed.subscribe()).not.toThrow();
});

test('a change between looking and waiting is not missed', async () => {
  const notifier = createNotifier();
  const seen = notifier.generation();
  notifier.notify();
  const started = performance.now();
  await notifier.wait(seen, 5000, new AbortController().signal);
  expect(performance.now() - started).toBeLessThan(1000);
  const stop = new AbortController();
  const waiting = notifier.wait(notifier.generation(), 5000, stop.signal);
  stop.abort();
  await waiting;
  expect(performance.now() - started).toBeLessThan(2000);
});
