// The control cases AUD-*: what is tried with the audit, by who is recorded, by the disk, and by who holds the file.
import { createHash } from 'node:crypto';
import { type AuditRecord, encodeRecord, GENESIS, readChain } from '@daypass/core/audit';
import { expect, test } from 'vitest';
import { createLog as createControlLog } from '../../control-plane/log.ts';
import { realDisk, type SpoolDisk } from '../../data-plane/audit/files.ts';
import { openSpool } from '../../data-plane/audit/spool.ts';
import { createSpoolSink } from '../../data-plane/audit/spool-sink.ts';
import { createLog } from '../../data-plane/log.ts';
import { RequestRecord } from '../../data-plane/record.ts';
import { chainOn, freshFolder, memoryLog } from '../data-plane/audit/records.ts';
import { startFixture } from '../data-plane/fixture.ts';
import { ask, startRecorder } from '../data-plane/recorder.ts';

const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest();
const hash = (bytes: Uint8Array): string => Buffer.from(sha256(bytes)).toString('hex');

const record = (seq: number, prev: string, principal: string, time = 1_700_000_000_000 + seq): Uint8Array => {
  const who = { jti: 'j', caller: 'c', principal, client: 'ci', service: 's', credential_id: '', source: '' };
  const what = { method: 'GET', path: '/a', rule: '', result: 'allowed', reason: '', snapshot_version: 1, count: 1 };
  return Buffer.from(
    encodeRecord({ kind: 'decision', seq, prev, id: `d${seq}`, time, node: 'n', ...who, ...what } as AuditRecord),
  );
};

function chain(length: number, time?: (seq: number) => number): Uint8Array[] {
  const records: Uint8Array[] = [];
  for (let seq = 1; seq <= length; seq += 1) {
    const last = records.at(-1);
    records.push(record(seq, last === undefined ? GENESIS : hash(last), 'ada', time?.(seq)));
  }
  return records;
}

const ODD = [
  'a\r\nb',
  'a\0b',
  '\u001b[31mred\u001b[0m',
  '\u009b31m',
  'a\u2028b\u2029c',
  'a\u007fb\u0085c',
  '\u202eevil\u2066x\u2069',
  '\u200fa\u061cb',
  '"}\n{"decision":"allow"',
  '\\u0022}',
];

test.each(ODD)('AUD-01 AUD-03 %j stays one line, inside its text, and shows as nothing else', (text) => {
  const line = Buffer.from(record(1, GENESIS, text)).toString();
  const lines: string[] = [];
  for (const create of [createLog, createControlLog]) create('debug', (one) => lines.push(one)).info(text, { text });
  for (const one of [line, ...lines.map((whole) => whole.slice(0, -1))]) {
    expect(one).toMatch(/^[\x20-\x7e]*$/);
    expect(Object.values(JSON.parse(one) as object)).toContain(text);
  }
  const [read] = readChain([Buffer.from(line)], { node: 'n', firstSeq: 1, prev: GENESIS }, sha256);
  expect(read?.record).toMatchObject({ principal: text });
});

test('AUD-01 what a client writes in path, query, header and user agent forges no record', async () => {
  using upstream = await startRecorder();
  const services = [{ name: 'api', origin: upstream.origin, secret: 'S3CRET', is_default: true }];
  await using data = await startFixture({ services });
  const token = await data.mint({ sub: 'a\u001b[2J"}\n{' });
  const fields = ['User-Agent: x","outcome":"allow', 'X-A: \u0080\u009b'];
  expect((await ask(data.port, '/public/a?q=%0d%0a%1b[31m', { token, fields })).status).toBe(200);
  expect(data.audit.decisions).toHaveLength(1);
  expect(data.logs.every((line) => /^[\x20-\x7e]*\n$/.test(line))).toBe(true);
});

test('AUD-05 a disk that takes its time makes requests slow, and loses none', () => {
  const folder = freshFolder();
  const { log } = memoryLog();
  const sleeping = new Int32Array(new SharedArrayBuffer(4));
  const disk: SpoolDisk = {
    ...realDisk,
    writeSync: (fd, bytes) => {
      Atomics.wait(sleeping, 0, 0, 20);
      return realDisk.writeSync(fd, bytes);
    },
  };
  const spool = openSpool({ folder, node: 'node-1', bytesMax: 64 * 1024 * 1024, disk, now: Date.now, log });
  const sink = createSpoolSink({ spool, strict: false, now: Date.now, newId: () => 'x', snapshotVersion: () => 1 });
  for (let at = 0; at < 10; at += 1) {
    const one = new RequestRecord({ audit: sink, nowMs: Date.now, id: `r${at}`, remoteAddress: '' });
    one.identify({ asker: 'anonymous', service: 'api', method: 'GET', path: '/a', snapshot: { version: 1 } as never });
    one.allow('', '');
    one.end({ result: 'completed', reason: '', status: 200 });
  }
  expect(chainOn(folder).filter(({ kind }) => kind === 'outcome')).toHaveLength(10);
  sink[Symbol.dispose]();
  spool.close();
});

test.each<[string, (records: Uint8Array[]) => Uint8Array[], string]>([
  ['one removed', (all) => all.toSpliced(2, 1), 'Record 3'],
  [
    'two swapped',
    (all) => [...all.slice(0, 2), all[3] as Uint8Array, all[2] as Uint8Array, ...all.slice(4)],
    'Record 3',
  ],
  ['one edited', (all) => all.with(2, record(3, hash(all[1] as Uint8Array), 'eve')), 'Record 4'],
  ['one twice', (all) => all.toSpliced(2, 0, all[1] as Uint8Array), 'Record 3'],
])('AUD-09 a chain with %s is refused, and the first wrong record is named', (_name, spoil, named) => {
  const start = { node: 'n', firstSeq: 1, prev: GENESIS };
  expect(readChain(chain(6), start, sha256)).toHaveLength(6);
  expect(() => readChain(spoil(chain(6)), start, sha256)).toThrow(named);
});

test('AUD-15 a clock that goes backwards changes nothing of the order, and shows in the times', () => {
  const start = { node: 'n', firstSeq: 1, prev: GENESIS };
  const read = readChain(
    chain(4, (seq) => 2_000_000_000_000 - seq * 60_000),
    start,
    sha256,
  );
  expect(read.map(({ record: { seq } }) => seq)).toEqual([1, 2, 3, 4]);
  expect(read[3]?.record.time).toBeLessThan(read[0]?.record.time ?? 0);
});
