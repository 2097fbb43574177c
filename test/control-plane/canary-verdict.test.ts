// When a canary is taken back by itself: the numbers, one row each.
import { expect, test } from 'vitest';
import { type CanaryTallies, harmOf, talliesOf } from '../../control-plane/domain/canary-verdict.ts';

type Pair = readonly [bad: number, requests: number];
const tallies = (during: Pair, before: Pair, others: Pair): CanaryTallies => {
  const tally = ([bad, requests]: Pair) => ({ bad, requests });
  return { during: tally(during), before: tally(before), others: tally(others) };
};

const NONE: Pair = [0, 0];
const rows: readonly (readonly [string, boolean, readonly Pair[]])[] = [
  ['nothing came', false, [[0, 0]]],
  ['all of too few are bad', false, [[19, 19]]],
  ['all are bad', true, [[20, 20]]],
  ['four bad ones are chance', false, [[4, 20]]],
  ['five of twenty are not', true, [[5, 20]]],
  ['a tenth', true, [[10, 100]]],
  ['less than a tenth', false, [[99, 1000]]],
  [
    'as bad as before',
    false,
    [
      [30, 100],
      [30, 100],
    ],
  ],
  [
    'ten points worse than before, but not twice as bad',
    false,
    [
      [40, 100],
      [30, 100],
    ],
  ],
  [
    'twice as bad as before',
    true,
    [
      [60, 100],
      [30, 100],
    ],
  ],
  [
    'twice as bad, by less than ten points',
    false,
    [
      [8, 100],
      [4, 100],
    ],
  ],
  [
    'the others fare as ill meanwhile',
    false,
    [
      [90, 100],
      [0, 100],
      [80, 100],
    ],
  ],
  [
    'only before was bad',
    false,
    [
      [40, 100],
      [80, 100],
      [0, 100],
    ],
  ],
  [
    'too few before to compare with',
    true,
    [
      [50, 100],
      [15, 19],
      [0, 100],
    ],
  ],
];
test.each(rows)('%s: taken back %s', (_what, isTakenBack, [during = NONE, before = NONE, others = NONE]) => {
  expect(harmOf(tallies(during, before, others)) !== undefined).toBe(isTakenBack);
});

test('its nodes are counted from its first version on, the others in all', () => {
  const canary: Parameters<typeof talliesOf>[0] = {
    ...{
      pool: 'default',
      id: 'c',
      nodes: ['a', 'b'],
      service: 's',
      caller: 'x',
      method: 'm',
      subject: 's',
      version: 7,
    },
    ...{ startedAt: 0, promoteAt: undefined, requestsBefore: 9, badBefore: 1, endedAt: undefined, ending: '', why: '' },
  };
  const row = (node: string, requests: number, bad: number, requestsFrom: number, badFrom: number) => ({
    ...{ node, requests, bad, requestsFrom, badFrom },
  });
  expect(talliesOf(canary, [row('a', 100, 50, 10, 2), row('b', 5, 5, 1, 1), row('c', 30, 3, 30, 3)])).toEqual({
    before: { requests: 9, bad: 1 },
    during: { requests: 11, bad: 3 },
    others: { requests: 30, bad: 3 },
  });
});
