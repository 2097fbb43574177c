// The line of a record is the codec's, whatever its members hold.
import { encodeRecord, GENESIS } from '@daypass/core/audit';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { lineOf } from '../../../data-plane/audit/line.ts';
import { decision, outcome } from './drafts.ts';

const text = fc.oneof(
  fc.string({ maxLength: 12 }),
  fc.string({ unit: 'binary', maxLength: 12 }),
  fc.constantFrom('"', '\\', '\n', '\u007f', '\u202e', '\ud800', 'é'),
  fc.integer({ min: 120, max: 2100 }).map((length) => 'x'.repeat(length)),
);
const count = fc.oneof(fc.nat(), fc.constantFrom(1, Number.MAX_SAFE_INTEGER));
const place = fc.record({
  seq: fc.integer({ min: 1 }),
  prev: fc.constant(GENESIS),
  node: fc.oneof(fc.constant('node-1'), text),
});
/** Mostly plain, so that each member is the odd one at times. */
const changed = (names: readonly string[], odd: fc.Arbitrary<unknown>) =>
  fc.tuple(fc.constantFrom(...names), odd).map(([name, value]) => ({ [name]: value }));

test('a decision is written as the codec writes it', () => {
  const texts = ['id', 'reason', 'jti', 'caller', 'principal', 'client', 'service', 'method', 'path', 'rule'];
  const change = fc.oneof(
    changed([...texts, 'credential_id', 'source'], text),
    changed(['time', 'snapshot_version'], count),
    changed(['count'], fc.integer({ min: 1 })),
  );
  fc.assert(
    fc.property(change, place, (odd, at) => {
      const draft = decision('id', odd);
      expect(lineOf(draft, at)).toBe(encodeRecord({ ...draft, ...at }));
    }),
    { numRuns: 2000 },
  );
});

test('an outcome is written as the codec writes it', () => {
  const numbers = ['time', 'status', 'request_bytes', 'response_bytes', 'latency_micros'];
  const change = fc.oneof(changed(['id', 'reason'], text), changed(numbers, count));
  fc.assert(
    fc.property(change, place, (odd, at) => {
      const draft = outcome('id', odd);
      expect(lineOf(draft, at)).toBe(encodeRecord({ ...draft, ...at }));
    }),
    { numRuns: 2000 },
  );
});

test('numbers that a record cannot hold become the nearest that it can', () => {
  const at = { seq: 1, prev: GENESIS, node: 'node-1' };
  expect(lineOf(decision('d', { time: -1, snapshot_version: 1.5, count: 0 }), at)).toBe(
    encodeRecord({ ...decision('d', { time: 0, snapshot_version: 1, count: 1 }), ...at }),
  );
  expect(lineOf(outcome('d', { status: Number.NaN, latency_micros: 2 ** 60, response_bytes: -5 }), at)).toBe(
    encodeRecord({
      ...outcome('d', { status: 0, latency_micros: Number.MAX_SAFE_INTEGER, response_bytes: 0 }),
      ...at,
    }),
  );
});
