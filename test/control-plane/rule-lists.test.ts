// Rules asked by method and path alone: nothing sure that is not so, nothing left out that might be.
import { RequestDetails } from '@daypass/core/request-details';
import { compileRules, matchRules } from '@daypass/core/rule-match';
import { printRule } from '@daypass/core/rule-print';
import { expect, test } from 'vitest';
import { readRuleLists } from '../../control-plane/domain/rule-lists.ts';
import { bodyOf, callsWorld, mixedWorld, namesWorld, type World, type WorldRequest } from '../core/rule-universe.ts';

const detailsOf = (request: WorldRequest): RequestDetails => {
  const headers = request.headers ?? {};
  const value = (name: string): readonly string[] => (headers[name] === undefined ? [] : [headers[name]]);
  const details = new RequestDetails({ query: request.query, header: value });
  details.body = bodyOf(request);
  return details;
};

test.each<World>([
  namesWorld(31),
  mixedWorld(101),
  callsWorld(31),
])('of $name, what the matcher allows might be, and what is sure it allows', async ({ rules, requests }) => {
  let [sure, allowed] = [0, 0];
  for (const rule of rules) {
    const lists = await readRuleLists([printRule(rule)]);
    const compiled = compileRules([rule]);
    for (const request of requests) {
      const { method, path } = request;
      const isAllowed = matchRules(compiled, method, path, undefined, detailsOf(request)) !== undefined;
      if (isAllowed)
        expect([printRule(rule), request, lists.maybe(method, path)]).toEqual([
          printRule(rule),
          request,
          printRule(rule),
        ]);
      if (lists.surely(method, path) === undefined) continue;
      expect([printRule(rule), request, isAllowed]).toEqual([printRule(rule), request, true]);
      sure += 1;
      if (isAllowed) allowed += 1;
    }
  }
  expect(sure + allowed).toBeGreaterThan(0);
});

test('a rule whose conditions are on its path alone is sure', async () => {
  const lists = await readRuleLists([
    'GET /repos/{owner}/issues where path.owner = "acme"',
    'GET /a where query.q = "1"',
  ]);
  expect(lists.surely('GET', '/repos/acme/issues')).toBe('GET /repos/{owner}/issues where path.owner = "acme"');
  expect(lists.maybe('GET', '/repos/other/issues')).toBeUndefined();
  expect([lists.surely('GET', '/a'), lists.maybe('GET', '/a')]).toEqual([undefined, 'GET /a where query.q = "1"']);
});

test('ten thousand rules are asked as one list', async () => {
  const lists = await readRuleLists(Array.from({ length: 10_000 }, (_, at) => `GET /things/${at}`));
  expect([lists.surely('GET', '/things/9999'), lists.maybe('POST', '/things/1')]).toEqual([
    'GET /things/9999',
    undefined,
  ]);
});
