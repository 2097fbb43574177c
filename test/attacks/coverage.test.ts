// No attack case is passed over: each is played where the map says, or stands as pending with its reason. Prints the count.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { root } from '../check/sources.ts';
import { type Case, cases } from './cases.ts';
import { JUDGED_WRONG, PENDING, PLAYED, RUNNERS } from './coverage.ts';

const runnerOf = ({ level }: Case): string | undefined =>
  level === 'connection' || level === 'control' ? undefined : RUNNERS[level];

const textOf = (file: string): string => (existsSync(join(root, file)) ? readFileSync(join(root, file), 'utf8') : '');

test('every attack case is played or pending, once', () => {
  const lost = cases.filter((one) => {
    const ways = [
      runnerOf(one) !== undefined && PENDING[one.id] === undefined,
      PLAYED[one.id] !== undefined,
      PENDING[one.id] !== undefined,
    ];
    return ways.filter(Boolean).length !== 1;
  });
  expect(lost.map(({ id }) => id)).toEqual([]);
});

test('every file of the map holds what it is named for', () => {
  const empty = Object.entries(PLAYED).filter(([id, { file, title }]) => !textOf(file).includes(title ?? id));
  expect(empty.map(([id, { file }]) => `${id} in ${file}`)).toEqual([]);
  for (const file of Object.values(RUNNERS)) expect(existsSync(join(root, file))).toBe(true);
});

test('the map names no case that is not there', () => {
  const ids = new Set(cases.map(({ id }) => id));
  const named = [PLAYED, PENDING, JUDGED_WRONG].flatMap((map) => Object.keys(map));
  expect(named.filter((id) => !ids.has(id))).toEqual([]);
});

test('the count of the attack suite', () => {
  const pending = Object.keys(PENDING);
  const count = cases.length - pending.length;
  console.log(`attack suite: ${count} cases run, ${pending.length} pending (${pending.join(', ')})`);
  expect(count).toBeGreaterThan(360);
});
