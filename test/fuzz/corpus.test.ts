// The fuzzers in short: every committed input, and a few thousand made from them.
import { expect, test } from 'vitest';
import { lineOf, readCorpus } from './corpus.ts';
import { fuzz } from './engine.ts';
import { targets } from './targets/all.ts';

test.each(targets)('$name keeps its promises for every committed input and 3,000 more', async (target) => {
  const seeds = await readCorpus(target);
  expect(seeds.length).toBeGreaterThan(10);
  const { executions, finds } = await fuzz(target, { seeds, runs: seeds.length + 3000, seed: 1, maxMs: 50 });
  expect(finds.map(({ input, what }) => `${what} ${lineOf(target, input).slice(0, 4096)}`)).toEqual([]);
  expect(executions).toBe(seeds.length + 3000);
}, 60_000);
