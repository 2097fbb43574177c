// Questions that are asked at the same time share an answer that is no older than any of them.
import { expect, test } from 'vitest';
import { shareAsked } from '../../control-plane/domain/share-asked.ts';

const setUp = () => {
  const asked: { readonly key: string; answer(value: string): void; fail(error: Error): void }[] = [];
  const ask = shareAsked((key) => new Promise<string>((answer, fail) => asked.push({ key, answer, fail })));
  return { asked, ask };
};

test('who comes while a question is asked shares the next answer, which is asked for after it came', async () => {
  const { asked, ask } = setUp();
  const first = ask('a');
  const next = [ask('a'), ask('a')];
  expect(asked).toHaveLength(1);
  asked[0]?.answer('old');
  expect(await first).toBe('old');
  await expect.poll(() => asked.length).toBe(2);
  const last = ask('a');
  asked[1]?.answer('new');
  expect(await Promise.all(next)).toEqual(['new', 'new']);
  await expect.poll(() => asked.length).toBe(3);
  asked[2]?.answer('newest');
  expect(await last).toBe('newest');
});

test('other questions are asked at once, and a failure is nobody else’s', async () => {
  const { asked, ask } = setUp();
  const failing = ask('a');
  const other = ask('b');
  const after = ask('a');
  expect(asked.map(({ key }) => key)).toEqual(['a', 'b']);
  asked[0]?.fail(new Error('no'));
  await expect(failing).rejects.toThrow('no');
  asked[1]?.answer('b');
  expect(await other).toBe('b');
  await expect.poll(() => asked.length).toBe(3);
  asked[2]?.answer('a');
  expect(await after).toBe('a');
});
