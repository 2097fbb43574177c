// Counting refusals: bounded in records and in memory, whatever an outsider sends.
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { networkOf } from '../../../data-plane/audit/network.ts';
import { createRefusalCounter } from '../../../data-plane/audit/refusals.ts';
import type { DecisionInput } from '../../../data-plane/audit/sink.ts';

beforeEach(() => {
  vi.useFakeTimers({ now: 1_800_000_000_000 });
});
afterEach(() => {
  vi.useRealTimers();
});

function counter() {
  const written: DecisionInput[] = [];
  const room = { is: true };
  const write = (records: readonly DecisionInput[]) => {
    if (room.is) written.push(...records);
    return room.is;
  };
  let ids = 0;
  const deps = { write, now: Date.now, newId: () => `id-${++ids}`, snapshotVersion: () => 7 };
  return { refusals: createRefusalCounter(deps), written, room };
}

test.each([
  ['203.0.113.77', '203.0.113.0/24'],
  ['::ffff:203.0.113.77', '203.0.113.0/24'],
  ['2001:db8:12:3456::1', '2001:db8:12::/48'],
  ['2001:0DB8:0012::', '2001:db8:12::/48'],
  ['2001:db8::5:6:7', '2001:db8:0::/48'],
  ['::1', '0:0:0::/48'],
  ['1:2::', '1:2:0::/48'],
  ['fe80::1%eth0', 'fe80:0:0::/48'],
  ['64:ff9b::192.0.2.1', '64:ff9b:0::/48'],
  ['', 'unknown'],
  ['not an address', 'unknown'],
])('%s comes from %s', (address, network) => {
  expect(networkOf(address)).toBe(network);
});

test('a single refusal is written at once', () => {
  const { refusals, written } = counter();
  refusals.count('token_missing', '203.0.113.77', 'github');
  expect(written).toMatchObject([
    { result: 'refused', reason: 'token_missing', source: '203.0.113.0/24', service: 'github', count: 1, jti: '' },
  ]);
});

test('a flood is one record a second by reason and network, and counts every refusal', () => {
  const { refusals, written } = counter();
  for (let ms = 0; ms < 5_000; ms += 10) {
    refusals.count('token_missing', `203.0.113.${ms % 256}`, 'github');
    vi.advanceTimersByTime(10);
  }
  expect(written.length).toBeLessThanOrEqual(6);
  vi.advanceTimersByTime(2_000);
  expect(written.reduce((sum, { count }) => sum + count, 0)).toBe(500);
  for (const [index, { time }] of written.entries())
    expect(time - (written[index - 1]?.time ?? 0)).toBeGreaterThanOrEqual(1_000);
});

test('reasons, networks and services are told apart, up to a bound; the rest is counted as other', () => {
  const { refusals, written } = counter();
  for (let index = 0; index < 5_000; index++)
    refusals.count('token_missing', `10.${Math.floor(index / 256)}.${index % 256}.1`, 'github');
  refusals.count('token_expired', '10.0.0.1', 'github');
  vi.advanceTimersByTime(3_000);
  expect(written.reduce((sum, { count }) => sum + count, 0)).toBe(5_001);
  expect(written.length).toBeLessThan(70);
  expect(written.filter(({ source }) => source === 'other').map(({ reason, service }) => [reason, service])).toEqual([
    ['token_missing', ''],
    ['token_expired', ''],
    ['token_missing', ''],
  ]);
});

test('what cannot be written is counted on and written when there is room', () => {
  const { refusals, written, room } = counter();
  room.is = false;
  for (let index = 0; index < 10; index++) refusals.count('token_missing', '203.0.113.1', '');
  vi.advanceTimersByTime(5_000);
  room.is = true;
  vi.advanceTimersByTime(1_500);
  expect(written).toMatchObject([{ count: 10 }]);
});

test('an invented service name of any length takes no room', () => {
  const { refusals, written } = counter();
  refusals.count('service_unknown', '203.0.113.1', 'x'.repeat(10_000));
  expect(written).toMatchObject([{ service: '' }]);
});

test('closing writes what is counted', () => {
  const { refusals, written } = counter();
  for (let index = 0; index < 3; index++) refusals.count('token_missing', '203.0.113.1', '');
  refusals.close();
  expect(written.map(({ count }) => count)).toEqual([1, 2]);
});

test('a quiet counter keeps no timer', () => {
  const { refusals } = counter();
  refusals.count('token_missing', '203.0.113.1', '');
  vi.advanceTimersByTime(5_000);
  expect(vi.getTimerCount()).toBe(0);
});
