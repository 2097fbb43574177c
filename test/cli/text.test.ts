// Durations, times, tables, errors and file names as the command writes and reads them.
import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { AuditEventSchema } from '@daypass/sdk/gen/daypass/v1/audit_pb';
import { expect, test } from 'vitest';
import { eventPath } from '../../cli/audit-sink.ts';
import { lastWords } from '../../cli/child.ts';
import { durationText, parseDurationMs, timeFlag } from '../../cli/duration.ts';
import { failureText, printable, table } from '../../cli/output.ts';
import { controlUrlOf, dataUrlOf, planeEnvironment } from '../../cli/settings.ts';

test.each([
  ['0', 0],
  ['250ms', 250],
  ['90s', 90_000],
  ['15m', 900_000],
  ['1h', 3_600_000],
  ['7d', 604_800_000],
  ['', undefined],
  ['15', undefined],
  ['-1s', undefined],
  ['1.5h', undefined],
  ['1h30m', undefined],
  ['15M', undefined],
])('the duration %j is %j ms', (text, ms) => {
  expect(parseDurationMs(text)).toBe(ms);
});

test.each([
  [0, '0ms'],
  [250, '250ms'],
  [90_000, '90s'],
  [900_000, '15m'],
  [86_400_000, '24h'],
])('%j ms are written %s', (ms, text) => {
  expect(durationText(ms)).toBe(text);
});

test('a time is so long ago, or RFC 3339', () => {
  expect(timeFlag('15m', '--since', 1_000_000)).toBe(100_000);
  expect(timeFlag('2026-01-31T09:00:00Z', '--since', 0)).toBe(Date.UTC(2026, 0, 31, 9));
  expect(timeFlag('2026-01-31T09:00:00.250+02:00', '--since', 0)).toBe(Date.UTC(2026, 0, 31, 7, 0, 0, 250));
  for (const wrong of ['2026-01-31', '2026-13-01T00:00:00Z', 'Jan 1 2026', ''])
    expect(() => timeFlag(wrong, '--since', 0)).toThrow('--since');
});

test('columns are as wide as their widest cell', () => {
  expect(
    table(
      ['A', 'LONG', 'C'],
      [
        ['xxx', 'y', 'z'],
        ['', '', ''],
      ],
    ),
  ).toBe('A    LONG  C\nxxx  y     z\n\n');
});

test('nothing that a client sent can steer a terminal', () => {
  const hostile = '\u001b[2J\u0007\r\n\u009b\u202etxt';
  expect(printable(hostile)).toBe('\ufffd[2J\ufffd\ufffd\ufffd\ufffd\ufffdtxt');
  expect(table(['A'], [[hostile]])).not.toMatch(/[\u001b\u0007\r\u009b\u202e]/);
  expect(failureText({ exitCode: 1, code: 'internal', message: hostile }, false)).not.toContain('\u001b');
});

test('an event has one file, whatever its service is called', () => {
  const event = (fields: object) =>
    create(AuditEventSchema, { time: timestampFromMs(Date.UTC(2026, 0, 31, 9, 5, 7)), ...fields });
  const { service, day, file } = eventPath(event({ service: 'github', decisionId: 'abc', node: 'node-1', seq: 7n }));
  expect([service, day]).toEqual(['github', '2026-01-31']);
  expect(file).toMatch(/^09-05-07-[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\.json$/);
  const uuid = '0b4e2f9c-8d2a-4f3e-9c1d-2a3b4c5d6e7f';
  expect(eventPath(event({ service: 'github', decisionId: uuid })).file).toBe(`09-05-07-${uuid}.json`);
  for (const hostile of ['', '..', '../../etc', 'a/b', 'A', '.', 'x\0y'])
    expect(eventPath(event({ service: hostile, decisionId: '../../etc/passwd' }))).toMatchObject({
      service: '_none',
      file: expect.stringMatching(/^[0-9-]+[0-9a-f-]+\.json$/),
    });
});

test('why a child ended is its last error, else its last line', () => {
  const error = JSON.stringify({ level: 'error', message: 'the database is locked' });
  expect(lastWords([error, JSON.stringify({ level: 'info', message: 'stopped' })])).toBe('the database is locked');
  expect(lastWords(['one', 'two'])).toBe('two');
  expect(lastWords([])).toBe('');
});

test('a flag wins over its variable, and a variable that is empty is not set', () => {
  const env = { DAYPASS_LEASE: '1h', DAYPASS_HOME: 'a', PATH: 'p' };
  expect(planeEnvironment(env, { lease: '2h', insecureListen: true, home: 'b' })).toEqual({
    DAYPASS_LEASE: '2h',
    DAYPASS_INSECURE_LISTEN: '1',
    DAYPASS_HOME: 'b',
    PATH: 'p',
  });
  expect(controlUrlOf({}, { DAYPASS_CONTROL_URL: '' })).toBe('http://127.0.0.1:8480');
  expect(controlUrlOf({}, { DAYPASS_CONTROL_LISTEN: '0.0.0.0:99', DAYPASS_CONTROL_TLS_CERT: 'x' })).toBe(
    'https://127.0.0.1:99',
  );
  expect(controlUrlOf({ controlUrl: 'http://b' }, { DAYPASS_CONTROL_URL: 'http://a' })).toBe('http://b');
  expect(dataUrlOf({ DAYPASS_DATA_LISTEN: '[::]:99' })).toBe('http://[::1]:99');
});
