// Documents name only what is there: the tests that prove the threat model, attack cases, and files.
import { access, readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { root } from './sources.ts';

const read = (path: string): Promise<string> => readFile(join(root, path), 'utf8');

type Named = { readonly line: string; readonly file: string; readonly name: string };

const model = await read('docs/threat-model.md');
const named: readonly Named[] = [...model.matchAll(/^- `([a-z0-9/-]+)`: (.+)$/gm)].map(
  ([line, file = '', name = '']) => ({ line, file: `test/${file}.test.ts`, name }),
);

test('every test that the threat model names is there', async () => {
  const missing: string[] = [];
  for (const { line, file, name } of named) {
    const source = await read(file).catch(() => '');
    const isThere = ["'", '"', '`'].some((quote) => source.includes(`${quote}${name}${quote}`));
    if (!isThere) missing.push(line);
  }
  expect(missing).toEqual([]);
  expect(named.length).toBeGreaterThan(60);
});

test('every clause of the threat model has a test', () => {
  const clauses = model.split(/^\*\*cannot /m).slice(1);
  expect(clauses.filter((clause) => !/^[^\n]+\n\n- `/.test(clause))).toEqual([]);
  expect(clauses.length).toBeGreaterThan(20);
});

test('every attack case that the threat model names is one', async () => {
  const { cases } = JSON.parse(await read('test/attacks/attack-cases.json')) as { cases: readonly { id: string }[] };
  const ids = [...model.matchAll(/\b([A-Z]{3}-(?:\d+|\*))/g)].map(([, id = '']) => id);
  const isCase = (id: string) =>
    cases.some((one) => (id.endsWith('*') ? one.id.startsWith(id.slice(0, -1)) : one.id === id));
  expect(ids.filter((id) => !isCase(id))).toEqual([]);
});

test('every file that a document links to is there', async () => {
  const documents = ['README.md', ...(await readdir(join(root, 'docs'))).map((name) => `docs/${name}`)];
  const missing: string[] = [];
  for (const document of documents) {
    for (const [, target = ''] of (await read(document)).matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)) {
      const path = join(dirname(document), target);
      await access(join(root, path)).catch(() => missing.push(`${document}: ${target}`));
    }
  }
  expect(missing).toEqual([]);
});
