// How many calls of one credential run at a time, and who waits.
import { expect, test } from 'vitest';
import { createInFlight } from '../../control-plane/rpc/in-flight.ts';
import { errorOf } from './fixture.ts';

test('calls beyond the bound wait their turn, in order, and others do not wait for them', async () => {
  const inFlight = createInFlight(1, 60_000);
  const [first, second, third] = [new AbortController(), new AbortController(), new AbortController()];
  const entered: string[] = [];
  await inFlight.enter('a', first.signal);
  const waits = [
    inFlight.enter('a', second.signal).then(() => entered.push('second')),
    inFlight.enter('a', third.signal).then(() => entered.push('third')),
  ];
  await inFlight.enter('b', new AbortController().signal);
  expect(entered).toEqual([]);
  first.abort();
  await waits[0];
  expect(entered).toEqual(['second']);
  second.abort();
  await waits[1];
  expect(entered).toEqual(['second', 'third']);
  third.abort();
  // All places are free again.
  await inFlight.enter('a', new AbortController().signal);
});

test('a call that waited too long, or whose client went away, is refused and takes no place', async () => {
  const inFlight = createInFlight(1, 1);
  const [first, gone] = [new AbortController(), new AbortController()];
  await inFlight.enter('a', first.signal);
  expect(await errorOf(inFlight.enter('a', new AbortController().signal))).toMatchObject({ code: 'overloaded' });
  const waiting = errorOf(inFlight.enter('a', gone.signal));
  gone.abort();
  expect(await waiting).toMatchObject({ code: 'overloaded' });
  first.abort();
  await inFlight.enter('a', new AbortController().signal);
});

test('a call that has ended before it began takes no place', async () => {
  const inFlight = createInFlight(1, 1);
  await inFlight.enter('a', AbortSignal.abort());
  await inFlight.enter('a', new AbortController().signal);
  expect(await errorOf(inFlight.enter('a', new AbortController().signal))).toMatchObject({ code: 'overloaded' });
});
