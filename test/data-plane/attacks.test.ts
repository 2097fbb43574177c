// Every attack case that goes over the wire, on both forms of the route.
import { describe, expect, test } from 'vitest';
import { PENDING } from '../attacks/coverage.ts';
import { playCase, wireCases } from './attack-case.ts';

describe.each([
  ['the default service', ''],
  ['a named service', '/s/api'],
])('over %s', (_route, prefix) => {
  test.concurrent.each(
    wireCases.map((attack) => [attack.id, attack.title, attack] as const),
  )('%s %s', async (id, _title, attack) => {
    const problems = await playCase(attack, prefix);
    // What is pending is expected to fail: when it no longer does, it is pending no more.
    if (PENDING[id] !== undefined) expect(problems).not.toEqual([]);
    else expect(problems).toEqual([]);
  });
});
