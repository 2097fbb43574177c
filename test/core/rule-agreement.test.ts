// `covers` agrees with the matcher on every request of small worlds; `npm run torture:covers` has larger ones.

import { covers } from '@daypass/core/rule-covers';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { agreementIn } from './rule-agreement.ts';
import { anyRule } from './rule-arbitrary.ts';
import {
  bodyWorld,
  callsWorld,
  headerWorld,
  mixedWorld,
  namesWorld,
  queryWorld,
  segmentsWorld,
  type World,
} from './rule-universe.ts';

test.each<World>([
  segmentsWorld(2),
  namesWorld(5),
  queryWorld(8),
  headerWorld(5),
  bodyWorld(6),
  mixedWorld(300),
  callsWorld(9),
])('$name: no false yes, and no false no on single pairs', (world) => {
  const { yes, pairs, falseYes, falseNo } = agreementIn(world, 500);
  expect({ falseYes, falseNo }).toEqual({ falseYes: [], falseNo: [] });
  // There is something of both to be right about.
  expect(yes).toBeGreaterThan(100);
  expect(pairs - yes).toBeGreaterThan(100);
});

test('every rule covers itself, and a list each of its own', () => {
  fc.assert(
    fc.property(fc.array(anyRule, { maxLength: 5 }), (rules) => {
      expect(covers(rules, rules)).toEqual({ covered: true });
      for (const rule of rules) expect(covers(rules, [rule])).toEqual({ covered: true });
    }),
  );
});

test('what covers what covers a rule covers that rule', () => {
  fc.assert(
    fc.property(anyRule, anyRule, anyRule, (a, b, c) => {
      if (covers([a], [b]).covered && covers([b], [c]).covered) expect(covers([a], [c]).covered).toBe(true);
    }),
  );
});
