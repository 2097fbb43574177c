// What is done when another control plane has written, also where the database does not answer at first.
import { expect, test } from 'vitest';
import { createNotifier } from '../../control-plane/domain/notifier.ts';
import { createHeed } from '../../control-plane/heed.ts';
import { createInsist } from '../../control-plane/insist.ts';
import { until } from './fixture.ts';

const TOPICS = ['snapshots', 'nodes', 'keys'] as const;

const begin = (failures: number, againMs = 1) => {
  const calls: string[] = [];
  const failed: string[] = [];
  const work = (topic: string) => async (): Promise<void> => {
    calls.push(topic);
    if (calls.filter((one) => one === topic).length <= failures) throw new Error('the database is too busy');
  };
  const insist = createInsist((what) => failed.push(what), againMs);
  const heed = createHeed({
    publisher: { learn: work('snapshots') },
    reported: createNotifier(),
    recheckNodes: work('nodes'),
    learnKeys: work('keys'),
    auditElsewhere: async () => {},
    insist,
  });
  return { calls, failed, insist, heed };
};

test.each(
  TOPICS,
)('news of %s that could not be looked up at first is looked up again until it is known', async (topic) => {
  const { calls, failed, insist, heed } = begin(3);
  heed(topic);
  await until(() => calls.length === 4);
  expect([calls, failed]).toEqual([Array(4).fill(topic), Array(3).fill(topic)]);
  insist[Symbol.dispose]();
});

test('however often there is news that cannot be looked up, one look is due, and none once all is stopped', async () => {
  const { calls, insist } = begin(1000, 5);
  let looks = 0;
  const look = async (): Promise<void> => {
    looks += 1;
    throw new Error('the database is too busy');
  };
  for (let i = 0; i < 50; i += 1) await insist.run('snapshots', look);
  expect(looks).toBe(50);
  await until(() => looks > 50);
  insist[Symbol.dispose]();
  const before = looks;
  await insist.run('nodes', look);
  // Longer than the first pause: what was due has gone.
  const ended = performance.now() + 50;
  await until(() => performance.now() > ended);
  expect([looks, calls]).toEqual([before + 1, []]);
});
