// Three real documents: every operation becomes a rule, or is named; and the rules are those of their operations.
import { readFile } from 'node:fs/promises';
import { type CompiledOpenApi, compileOpenApi } from '@daypass/core/openapi';
import { RequestDetails } from '@daypass/core/request-details';
import type { Rule } from '@daypass/core/rule';
import { compileRules, matchRules } from '@daypass/core/rule-match';
import { parseRule } from '@daypass/core/rule-parse';
import { parseTarget } from '@daypass/core/target';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';

const packaged = (file: string): Promise<string> =>
  readFile(new URL(`../../node_modules/${file}`, import.meta.url), 'utf8');

type Sources = { readonly document: unknown; readonly compiled: CompiledOpenApi };

const read = async (text: Promise<string>, format: (text: string) => unknown): Promise<Sources> => {
  const document = format(await text);
  return { document, compiled: compileOpenApi(document) };
};

const documents = {
  figma: await read(packaged('@figma/rest-api-spec/openapi/openapi.yaml'), (text) => parse(text)),
  directus: await read(packaged('@directus/specs/dist/openapi.json'), JSON.parse),
  github: await read(readFile(new URL('./fixtures/openapi-github.json', import.meta.url), 'utf8'), JSON.parse),
};

const METHODS = ['get', 'put', 'post', 'delete', 'options', 'head', 'patch', 'trace'];

/** Ids by method and path, read without the compiler. */
const operationIds = (document: unknown): ReadonlyMap<string, string> => {
  const { paths } = document as { paths: Record<string, Record<string, { operationId: string }>> };
  return new Map(
    Object.entries(paths).flatMap(([path, item]) =>
      METHODS.flatMap((method) => {
        const operation = item[method];
        return operation === undefined ? [] : [[`${method.toUpperCase()} ${path}`, operation.operationId] as const];
      }),
    ),
  );
};

test.each<[name: keyof typeof documents, count: number, skipped: readonly object[]]>([
  ['figma', 54, []],
  ['directus', 136, []],
  [
    'github',
    1222,
    [{ id: 'repos/upload-release-asset', reason: 'it has a server of its own: https://uploads.github.com' }],
  ],
])('%s: %d operations are rules, the others are named', (name, count, skipped) => {
  const { document, compiled } = documents[name];
  expect(compiled.operations).toHaveLength(count);
  expect(compiled.skipped).toEqual(skipped);
  const ids = [...operationIds(document).values()];
  expect([...compiled.operations, ...compiled.skipped].map(({ id }) => id).sort()).toEqual(ids.sort());
});

test.each<[name: keyof typeof documents, many: number, one: number, pattern: number, also: number]>([
  ['figma', 0, 0, 0, 0],
  ['directus', 0, 0, 0, 4],
  ['github', 21, 45, 1, 33],
])('%s: what is not just as the document says is counted', (name, many, one, pattern, also) => {
  const { notes } = documents[name].compiled;
  const count = (kind: string) => notes.filter((note) => note.kind === kind).length;
  expect([count('many'), count('one'), count('pattern'), count('also')]).toEqual([many, one, pattern, also]);
});

test.each<[id: string, rule: string]>([
  ['issues/add-labels', 'POST /repos/{owner}/{repo}/issues/{issue_number}/labels'],
  ['repos/get-content', 'GET /repos/{owner}/{repo}/contents/**'],
  ['git/get-ref', 'GET /repos/{owner}/{repo}/git/ref/**'],
  ['repos/get-commit', 'GET /repos/{owner}/{repo}/commits/{ref}'],
  ['repos/get-branch-protection', 'GET /repos/{owner}/{repo}/branches/{branch}/protection'],
  ['repos/compare-commits', 'GET ~/repos/[^/]+/[^/]+/compare/[^/]+\\.\\.\\.[^/]+'],
  ['enterprise-team-memberships/list', 'GET /enterprises/{enterprise}/teams/{enterprise_team}/memberships'],
])('github: op:%s is %s', (id, rule) => {
  expect(documents.github.compiled.operations.find((one) => one.id === id)?.rule).toBe(rule);
});

/** A path with a value for every parameter. */
const fill = (path: string, value: (name: string) => string): string =>
  path.replace(/\{([^{}]+)\}/g, (_, name: string) => value(name));

const allows = (rule: Rule, method: string, path: string): boolean => {
  const target = parseTarget(path);
  const details = new RequestDetails({ query: target.query, header: () => [] });
  return matchRules(compileRules([rule]), method, target.path, undefined, details) !== undefined;
};

const value = fc.stringMatching(/^[A-Za-z0-9_-][A-Za-z0-9_.~:@-]{0,11}$/);

describe.each(Object.keys(documents) as (keyof typeof documents)[])('requests of %s', (name) => {
  const { document, compiled } = documents[name];
  const paths = new Map(
    [...operationIds(document)].map(([request, id]) => [id, request.split(' ') as [string, string]]),
  );
  const rules = compiled.operations.map(({ id, rule }) => ({
    id,
    rule: parseRule(rule),
    at: paths.get(id) ?? ['', ''],
  }));

  test('a rule allows the requests of its operation, whatever the parameters, and by no other method', () => {
    fc.assert(
      fc.property(fc.constantFrom(...rules), fc.infiniteStream(value), ({ rule, at: [method, path] }, values) => {
        const filled = fill(path, () => values.next().value);
        expect(allows(rule, method, filled)).toBe(true);
        expect(allows(rule, method === 'GET' ? 'POST' : 'GET', filled)).toBe(false);
      }),
      { numRuns: 300 },
    );
  });

  test('it allows none with a segment more or less, or with another text, but below an open end', () => {
    fc.assert(
      fc.property(fc.constantFrom(...rules), fc.infiniteStream(value), ({ rule, at: [method, path] }, values) => {
        const filled = fill(path, () => values.next().value);
        const isOpen = rule.kind === 'template' && rule.segments.at(-1)?.kind === 'rest';
        if (filled !== '/') expect(allows(rule, method, `${filled}/more`)).toBe(isOpen);
        if (filled !== '/') expect(allows(rule, method, filled.slice(0, filled.lastIndexOf('/')) || '/')).toBe(false);
        const other = fill(path.replace(/(^|\/)([^/{}]+)(?=\/|$)/, '$1$2-other'), () => values.next().value);
        if (other !== filled && /(^|\/)[^/{}]+(?=\/|$)/.test(path)) expect(allows(rule, method, other)).toBe(false);
      }),
      { numRuns: 300 },
    );
  });

  test('it allows no other operation but those that are named for it', () => {
    const also = new Map(compiled.notes.filter(({ kind }) => kind === 'also').map(({ id, others }) => [id, others]));
    const sample = [...paths].map(([id, [method, path]]) => ({
      id,
      method,
      filled: fill(path, (part) => `v-${part}`),
    }));
    for (const { id, rule } of rules) {
      const compiledRule = compileRules([rule]);
      const found = sample
        .filter((one) => matchRules(compiledRule, one.method, one.filled) !== undefined && one.id !== id)
        .map((one) => one.id);
      const named = also.get(id) ?? [];
      // More than 20 are cut.
      if (named.length < 20) expect([id, found.sort()]).toEqual([id, [...named].sort()]);
      else expect(found).toEqual(expect.arrayContaining([...named]));
    }
  });
});
