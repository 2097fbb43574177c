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
  bodyWorld(20),
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

test('a rule with a condition less, or every method, covers the rule', () => {
  fc.assert(
    fc.property(anyRule, (rule) => {
      expect(covers([rule], [rule]).covered).toBe(true);
      if ('methods' in rule) expect(covers([{ ...rule, methods: '*' }], [rule]).covered).toBe(true);
      if (!('conditions' in rule) || rule.kind === 'op') return;
      for (const at of rule.conditions.keys()) {
        const conditions = rule.conditions.filter((_, index) => index !== at);
        expect(covers([{ ...rule, conditions }], [rule]).covered).toBe(true);
      }
    }),
  );
});
