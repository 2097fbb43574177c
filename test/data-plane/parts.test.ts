// Small parts of the request path, each by itself.

import { queryName, withoutKeys, withPair } from '@daypass/core/query-keys';
import { describe, expect, test } from 'vitest';
import { BoundedCache } from '../../data-plane/bounded-cache.ts';
import { fullBucket, putBack, secondsUntilOne, take } from '../../data-plane/bucket.ts';
import { createSystemResolve } from '../../data-plane/dial.ts';
import { createMetrics } from '../../data-plane/metrics.ts';
import { problemOf } from '../../data-plane/refusal.ts';

describe('a query', () => {
  const keys = new Set(['api_key', '_method']);
  test.each([
    ['', ''],
    ['x=1', 'x=1'],
    ['api_key=1', undefined],
    ['x=1&api_key=1', 'x=1'],
    ['api_key=1&x=1&y=%zz', 'x=1&y=%zz'],
    ['x=1&API_KEY&y', 'x=1&y'],
    ['x;api_key=1;y', 'x;y'],
    ['a&&=&b=%61pi_key', 'a&&=&b=%61pi_key'],
    ['%5Fmethod=DELETE&%41PI%5fKEY[x]=1&z', 'z'],
    ['api%zzkey=1', 'api%zzkey=1'],
    ['+api_key=1', undefined],
  ])('%j without keys is %j', (query, left) => {
    expect(withoutKeys(query, keys)).toBe(left);
  });
  test('names are compared as the laxest upstream reads them', () => {
    expect(['A%5B%5D', 'a[b]', '%zz', '[x]', '+A+'].map(queryName)).toEqual(['a', 'a', '%zz', '[x]', 'a']);
  });
  test('a pair is put at the end', () => {
    expect([withPair(undefined, 'k=v'), withPair('', 'k=v'), withPair('a', 'k=v')]).toEqual(['k=v', 'k=v', 'a&k=v']);
  });
});

describe('a bounded cache', () => {
  test('keeps what is used and never holds more than its size', () => {
    const cache = new BoundedCache<number>({ entries: 10, chars: 1_000_000 });
    cache.set('kept', 1);
    for (let at = 0; at < 1000; at += 1) {
      cache.set(`other ${at}`, at);
      expect(cache.get('kept')).toBe(1);
      expect(cache.size).toBeLessThanOrEqual(10);
    }
    expect(cache.get('other 1')).toBeUndefined();
    cache.delete('kept');
    expect(cache.get('kept')).toBeUndefined();
  });
  test('keeps as many as it has room for, whichever way they are asked for', () => {
    const cache = new BoundedCache<number>({ entries: 1000, chars: 1_000_000 });
    for (let at = 0; at < 1000; at += 1) cache.set(`one ${at}`, at);
    for (let turn = 0; turn < 3; turn += 1)
      for (let at = 0; at < 1000; at += 1) expect(cache.get(`one ${(at * 7) % 1000}`)).toBe((at * 7) % 1000);
  });
  test('gives what was used room before what was not, though more comes in than it holds', () => {
    const cache = new BoundedCache<number>({ entries: 100, chars: 1_000_000 });
    for (let at = 0; at < 50; at += 1) cache.set(`good ${at}`, at);
    for (let at = 0; at < 10_000; at += 1) {
      cache.set(`once ${at}`, at);
      expect(cache.get(`good ${at % 50}`)).toBe(at % 50);
    }
  });
  test('makes room though all of it was used', () => {
    const cache = new BoundedCache<number>({ entries: 1000, chars: 1_000_000 });
    for (let at = 0; at < 5000; at += 1) {
      cache.set(`one ${at}`, at);
      cache.get(`one ${at}`);
    }
    expect([cache.size, cache.get('one 4999')]).toEqual([1000, 4999]);
  });
  test('finds each under its own key after others were dropped, and the newest value of one set twice', () => {
    const cache = new BoundedCache<number>({ entries: 4, chars: 1_000_000 });
    for (const [key, value] of [
      ['a', 1],
      ['b', 2],
      ['c', 3],
      ['b', 4],
      ['d', 5],
    ] as const)
      cache.set(key, value);
    cache.delete('a');
    cache.delete('absent');
    expect(['a', 'b', 'c', 'd'].map((key) => cache.get(key))).toEqual([undefined, 4, 3, 5]);
    expect(cache.size).toBe(3);
  });
  test('is bounded by the characters of its keys, and by what its values are said to take', () => {
    const cache = new BoundedCache<number>({ entries: 1000, chars: 100 });
    for (let at = 0; at < 100; at += 1) cache.set(`${at}`.padStart(50, ' '), at);
    expect(cache.size).toBeLessThanOrEqual(2);
    cache.set('large', 1, 90);
    expect([cache.size, cache.get('large')]).toEqual([1, 1]);
    cache.set('too large', 1, 100);
    expect(cache.get('too large')).toBeUndefined();
    expect(cache.get('large')).toBe(1);
  });
});

test('a bucket gives its burst, then what flows in, and a clock that jumps back gives nothing', () => {
  const flow = { burst: 2, perMs: 0.001 };
  const bucket = fullBucket(flow, 10_000);
  expect([take(bucket, flow, 10_000), take(bucket, flow, 10_000), take(bucket, flow, 10_000)]).toEqual([
    true,
    true,
    false,
  ]);
  expect(secondsUntilOne(bucket, flow)).toBe(1);
  expect([take(bucket, flow, 5_000), take(bucket, flow, 5_999), take(bucket, flow, 6_001)]).toEqual([
    false,
    false,
    true,
  ]);
  putBack(bucket, flow);
  expect(take(bucket, flow, 6_001)).toBe(true);
});

describe('metrics', () => {
  test('are rendered as Prometheus reads them', () => {
    const metrics = createMetrics();
    const plain = metrics.counter('a_total', 'A');
    const labelled = metrics.counter('b_total', 'B', ['x', 'y']);
    const histogram = metrics.histogram('c_seconds', 'C', [0.1, 1]);
    metrics.gauge('d', 'D', () => 7);
    plain.add(2);
    labelled.add(1, 'one', 'a"b\\c\nd');
    for (const value of [0.05, 0.1, 0.5, 5]) histogram.observe(value);
    expect(metrics.render()).toBe(
      [
        ...['# HELP a_total A', '# TYPE a_total counter', 'a_total 2'],
        ...['# HELP b_total B', '# TYPE b_total counter', 'b_total{x="one",y="a\\"b\\\\c\\nd"} 1'],
        ...['# HELP c_seconds C', '# TYPE c_seconds histogram', 'c_seconds_bucket{le="0.1"} 2'],
        ...['c_seconds_bucket{le="1"} 3', 'c_seconds_bucket{le="+Inf"} 4', 'c_seconds_sum 5.65', 'c_seconds_count 4'],
        ...['# HELP d D', '# TYPE d gauge', 'd 7', ''],
      ].join('\n'),
    );
  });
  test('stay few, whatever the labels', () => {
    const metrics = createMetrics();
    const counter = metrics.counter('a_total', 'A', ['x']);
    for (let at = 0; at < 2000; at += 1) counter.add(1, `${at}`);
    expect(metrics.render().split('\n').length).toBeLessThan(520);
    expect(metrics.render()).toContain('a_total{x="other"} 1500');
  });
  test('of one name are declared once', () => {
    const metrics = createMetrics();
    metrics.counter('a_total', 'A');
    expect(() => metrics.gauge('a_total', 'A', () => 0)).toThrow('declared twice');
  });
});

test('an unknown error becomes a problem that says nothing', () => {
  const { code, status, body } = problemOf(new Error('inner detail'), 'the-id');
  expect([code, status, JSON.parse(body.toString())]).toMatchObject([
    'internal',
    500,
    {
      type: 'urn:daypass:problem:internal',
      title: 'Internal error',
      status: 500,
      detail: 'Internal error',
      code: 'internal',
      decision_id: 'the-id',
    },
  ]);
  expect(body.toString()).not.toContain('inner');
});

test("the system's resolver answers everyone who asks for a name, also when there is none", async () => {
  const resolve = createSystemResolve();
  const ask = (name: string) =>
    new Promise<string>((done) =>
      resolve(name, (error, addresses) => done(error === null ? (addresses[0]?.address ?? '') : 'none')),
    );
  const names = ['127.0.0.1', '127.0.0.2', '127.0.0.3', '127.0.0.1', 'nothing.invalid'];
  expect(await Promise.all(names.map(ask))).toEqual([...names.slice(0, 4), 'none']);
});
