// The memory of a snapshot that was replaced.
import { afterEach, expect, test, vi } from 'vitest';
import { collectAfter } from '../../data-plane/collect.ts';
import { until } from '../kit/deadline.ts';

const LARGE = 32 * 1024 * 1024;
afterEach(() => {
  vi.useRealTimers();
});

/** Something large that nothing points at when this has returned. */
const replaced = (): WeakRef<SharedArrayBuffer> => new WeakRef(new SharedArrayBuffer(LARGE));

test('what a large snapshot has replaced is given back soon', async () => {
  const before = replaced();
  collectAfter(LARGE, 0);
  await until('it is collected', () => before.deref() === undefined, 10_000);
  expect(before.deref()).toBeUndefined();
});

test('threads collect one after the other, and none for a small snapshot', () => {
  vi.useFakeTimers();
  collectAfter(LARGE / 1000, 0);
  expect(vi.getTimerCount()).toBe(0);
  collectAfter(LARGE, 0);
  collectAfter(LARGE, 1);
  expect(vi.getTimerCount()).toBe(2);
  vi.advanceTimersByTime(1_000);
  expect(vi.getTimerCount()).toBe(1);
});
