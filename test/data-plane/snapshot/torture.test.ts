// A node that is killed while it activates has a good snapshot on disk: a few times here, 200 by `npm run torture:snapshot`.
import { expect, test } from 'vitest';
import { torture } from './torture.ts';

test('a node that is killed -9 at random moments has a good snapshot, none older than what it acknowledged', async () => {
  const { found, resumed } = await torture(3, Math.random, () => undefined);
  expect(found).toHaveLength(3);
  expect(found.every(({ acknowledged, stored }) => acknowledged > 0 && stored >= acknowledged)).toBe(true);
  expect(resumed).toBe(2);
}, 60_000);
