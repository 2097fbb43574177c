// Audit records have one spelling and follow each other by hash.
import {
  batchStatement,
  type DecisionRecord,
  encodeRecord,
  GENESIS,
  MAX_PATH,
  MAX_RECORD_BYTES,
  type OutcomeRecord,
  parseRecord,
  readChain,
  recordHash,
} from '@daypass/core/audit';
import { expect, test } from 'vitest';
import { codeOf, NOW, sha256, utf8 } from './fixture.ts';

const decision: DecisionRecord = {
  kind: 'decision',
  seq: 1,
  prev: GENESIS,
  id: 'd1',
  time: NOW * 1000,
  node: 'node-1',
  result: 'allowed',
  reason: '',
  jti: 'j',
  caller: 'ci',
  principal: 'octo-bot',
  client: 'octo-bot',
  service: 'github',
  method: 'GET',
  path: '/repos/acme/site/issues',
  rule: 'GET /repos/acme/{repo}/issues',
  credential_id: '',
  snapshot_version: 4,
  count: 1,
  source: '',
};
const outcome: OutcomeRecord = {
  kind: 'outcome',
  seq: 2,
  prev: recordHash(utf8(encodeRecord(decision)), sha256),
  id: 'd1',
  time: NOW * 1000 + 12,
  node: 'node-1',
  result: 'completed',
  reason: '',
  status: 200,
  request_bytes: 0,
  response_bytes: 1234,
  latency_micros: 12_000,
};
const bytes = [decision, outcome].map((record) => utf8(encodeRecord(record)));

test.each([[decision], [outcome]])('a record reads back as it was', (record) => {
  expect(parseRecord(utf8(encodeRecord(record)))).toEqual(record);
});

test('a record is one line, whatever the order of its members', () => {
  const shuffled = Object.fromEntries(Object.entries(decision).toReversed()) as DecisionRecord;
  expect(encodeRecord(shuffled)).toBe(encodeRecord(decision));
  expect(encodeRecord({ ...decision, principal: 'a\nb' })).not.toContain('\n');
});

test('over-long and broken texts are cut and mended, and the largest record is in bounds', () => {
  const wild = '\u0001'.repeat(10_000);
  const texts = Object.entries(decision).filter(([, value]) => typeof value === 'string');
  const names = texts.map(([name]) => name).filter((name) => !['kind', 'prev', 'result'].includes(name));
  const largest = { ...decision, ...Object.fromEntries(names.map((name) => [name, wild])) };
  const encoded = utf8(encodeRecord(largest));
  expect(encoded.length).toBeLessThanOrEqual(MAX_RECORD_BYTES);
  const read = parseRecord(encoded);
  expect(read.kind === 'decision' && read.path.length).toBe(MAX_PATH);
  expect(parseRecord(utf8(encodeRecord({ ...decision, path: '/\ud800' })))).toMatchObject({ path: '/\ufffd' });
});

const text = encodeRecord(decision);
test.each([
  ['a blank', ` ${text}`],
  ['a newline', `${text}\n`],
  ['another order', text.replace('{"kind":"decision","seq":1,', '{"seq":1,"kind":"decision",')],
  ['a member twice', text.replace('{', '{"seq":1,')],
  ['an unknown member', text.replace('{', '{"token":"x",')],
  ['a member missing', text.replace('"jti":"j",', '')],
  ['a number spelled oddly', text.replace('"seq":1,', '"seq":1.0,')],
  ['a number that is a text', text.replace('"seq":1,', '"seq":"1",')],
  ['seq 0', text.replace('"seq":1,', '"seq":0,')],
  ['count 0', text.replace('"count":1,', '"count":0,')],
  ['minus zero', text.replace('"snapshot_version":4', '"snapshot_version":-0')],
  ['an escape that is not needed', text.replace('"ci"', '"\\u0063i"')],
  ['an unknown kind', text.replace('"decision"', '"change"')],
  ['an unknown result', text.replace('"allowed"', '"maybe"')],
  ['a hash in capitals', text.replace(GENESIS, 'A'.repeat(64))],
  ['a path above the largest', text.replace('/repos/acme/site/issues', 'x'.repeat(MAX_PATH + 1))],
  ['the members of the other kind', encodeRecord(outcome).replace('"outcome"', '"decision"')],
  ['a size above the largest', text.padEnd(MAX_RECORD_BYTES + 1)],
  ['nothing', ''],
])('a record with %s is refused', async (_what, spelled) => {
  expect(spelled).not.toBe(text);
  expect(await codeOf(() => parseRecord(utf8(spelled)))).toBe('invalid_argument');
});

test('a record that is not UTF-8 is refused', async () => {
  expect(await codeOf(() => parseRecord(Uint8Array.of(0x7b, 0xff, 0x7d)))).toBe('invalid_argument');
});

test('a chain is read in order', () => {
  const chain = readChain(bytes, { node: 'node-1', firstSeq: 1, prev: GENESIS }, sha256);
  expect(chain.map(({ record }) => record)).toEqual([decision, outcome]);
  expect(chain[1]?.hash).toBe(recordHash(bytes[1] ?? utf8(''), sha256));
  expect(readChain(bytes.slice(1), { node: 'node-1', firstSeq: 2, prev: undefined }, sha256)).toHaveLength(1);
});

test.each([
  ['of another node', { node: 'node-2', firstSeq: 1, prev: GENESIS }, bytes],
  ['from another number', { node: 'node-1', firstSeq: 2, prev: GENESIS }, bytes],
  ['after another record', { node: 'node-1', firstSeq: 1, prev: 'a'.repeat(64) }, bytes],
  ['in another order', { node: 'node-1', firstSeq: 1, prev: GENESIS }, bytes.toReversed()],
  [
    'with one changed',
    { node: 'node-1', firstSeq: 1, prev: GENESIS },
    [utf8(encodeRecord({ ...decision, path: '/x' })), ...bytes.slice(1)],
  ],
] as const)('a chain %s is refused', async (_what, start, records) => {
  expect(await codeOf(() => readChain(records, start, sha256))).toBe('invalid_argument');
});

test('a batch is signed over these exact bytes', () => {
  expect(new TextDecoder().decode(batchStatement('node-1', 1, 2, GENESIS))).toBe(
    `{"node":"node-1","first_seq":1,"last_seq":2,"last_hash":"${GENESIS}"}`,
  );
});
