// Every attack case that goes over the wire, on both forms of the route.
import { describe, expect, test } from 'vitest';
import { playCase, wireCases } from './attack-case.ts';

/** Bodies are scrubbed by a later part (`scrub: full`); until then these are expected to fail, by id. */
const PENDING: ReadonlySet<string> = new Set(['RSP-05']);

describe.each([
  ['the default service', ''],
  ['a named service', '/s/api'],
])('over %s', (_route, prefix) => {
  test.concurrent.each(
    wireCases.map((attack) => [attack.id, attack.title, attack] as const),
  )('%s %s', async (id, _title, attack) => {
    const problems = await playCase(attack, prefix);
    if (PENDING.has(id)) expect(problems).not.toEqual([]);
    else expect(problems).toEqual([]);
  });
});
