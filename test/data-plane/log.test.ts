// The log: one JSON line an event, whatever it is given.
import { DaypassError } from '@daypass/core/errors';
import { expect, test } from 'vitest';
import { createLog, type LogFields } from '../../data-plane/log.ts';

function logged(fields: LogFields): Record<string, unknown> {
  const lines: string[] = [];
  createLog(
    'debug',
    (line) => lines.push(line),
    () => 0,
  ).info('said', fields);
  expect(lines).toHaveLength(1);
  expect(lines[0]?.indexOf('\n')).toBe((lines[0]?.length ?? 0) - 1);
  return JSON.parse(lines[0] ?? '');
}

test('an event is one line with time, level and message', () => {
  expect(logged({ port: 8470 })).toEqual({
    time: '1970-01-01T00:00:00.000Z',
    level: 'info',
    message: 'said',
    port: 8470,
  });
});

test('a line break in a value stays within the line', () => {
  expect(logged({ path: 'a\nb' })).toMatchObject({ path: 'a\nb' });
});

test('an error is its code, message and cause', () => {
  const error = new DaypassError('internal', 'public', { cause: new Error('the reason') });
  expect(logged({ error })).toMatchObject({
    error: { name: 'DaypassError', code: 'internal', message: 'public', cause: { message: 'the reason' } },
  });
});

test('an error that nobody foresaw has its stack', () => {
  expect(logged({ error: new TypeError('x') }).error).toHaveProperty('stack');
});

test('a long value is cut, a bigint is text', () => {
  const { text, big } = logged({ text: 'x'.repeat(10_000), big: 5n });
  expect([String(text).length, big]).toEqual([2048, '5']);
});

test('a value that cannot be written ends nothing', () => {
  const circle: Record<string, unknown> = {};
  circle.self = circle;
  const lines: string[] = [];
  createLog('info', (line) => lines.push(line)).error('said', { circle });
  expect(lines).toEqual([]);
});

test('events below the level are left out', () => {
  const lines: string[] = [];
  const log = createLog('warn', (line) => lines.push(line));
  log.debug('a');
  log.info('b');
  log.warn('c');
  log.error('d');
  expect(lines.map((line) => JSON.parse(line).message)).toEqual(['c', 'd']);
});
