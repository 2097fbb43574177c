// The spool: one chain, whole after every kind of end, bounded, never failing open.

import {
  appendFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { realDisk, type SpoolDisk } from '../../../data-plane/audit/files.ts';
import { linesOf } from '../../../data-plane/audit/segment.ts';
import { openSpool, type Spool } from '../../../data-plane/audit/spool.ts';
import { openSpoolState } from '../../../data-plane/audit/spool-memory.ts';
import { createSpoolWriter } from '../../../data-plane/audit/writer.ts';
import { decision, outcome } from './drafts.ts';
import { chainOn, freshFolder, memoryLog } from './records.ts';

const MIB = 1024 * 1024;
const LIMIT = { records: 500, bytes: MIB };

type Options = { readonly bytesMax?: number; readonly disk?: SpoolDisk; readonly node?: string };

function open(folder: string, { bytesMax = 64 * MIB, disk = realDisk, node = 'node-1' }: Options = {}) {
  const { log, lines } = memoryLog();
  return { spool: openSpool({ folder, node, bytesMax, disk, now: Date.now, log }), lines };
}

const request = (id: string) => [decision(id), outcome(id)];

async function upload(spool: Spool, records = 500): Promise<number> {
  const batch = await spool.read({ ...LIMIT, records });
  if (batch === undefined) return 0;
  await spool.acknowledge(batch, batch.firstSeq + batch.count - 1);
  return batch.count;
}

test('records get their numbers and hashes in order, and are on disk when append returns', () => {
  const folder = freshFolder();
  const { spool } = open(folder);
  for (const id of ['a', 'b', 'c']) spool.append(request(id));
  expect(chainOn(folder).map(({ seq, id, kind }) => `${seq} ${id} ${kind}`)).toEqual([
    '1 a decision',
    '2 a outcome',
    '3 b decision',
    '4 b outcome',
    '5 c decision',
    '6 c outcome',
  ]);
});

test('one append is one write', () => {
  const writes: number[] = [];
  const disk = {
    ...realDisk,
    writeSync: (fd: number, bytes: Uint8Array) => writes.push(1) && realDisk.writeSync(fd, bytes),
  };
  const { spool } = open(freshFolder(), { disk });
  spool.append(request('a'));
  expect(writes).toEqual([1]);
});

test('the chain goes on after a restart', () => {
  const folder = freshFolder();
  const first = open(folder).spool;
  first.append(request('a'));
  first.close();
  const { spool } = open(folder);
  spool.append(request('b'));
  expect(chainOn(folder).map(({ id }) => id)).toEqual(['a', 'a', 'b', 'b']);
});

test.each([1, 20, 200])('a last line that lost its final %i bytes is cut, and the chain goes on', (lost) => {
  const folder = freshFolder();
  const first = open(folder).spool;
  first.append(request('a'));
  first.append([decision('refused', { result: 'refused', reason: 'rate_limited', source: '192.0.2.0/24' })]);
  first.close();
  const [name = ''] = readdirSync(folder);
  truncateSync(join(folder, name), readFileSync(join(folder, name)).length - lost);
  const { spool, lines } = open(folder);
  spool.append(request('b'));
  expect(chainOn(folder).map(({ id }) => id)).toEqual(['a', 'a', 'b', 'b']);
  expect(lines.filter(({ level }) => level === 'warn')).toHaveLength(1);
});

test('zeros at the end, as a power loss leaves them, are cut', () => {
  const folder = freshFolder();
  const first = open(folder).spool;
  first.append(request('a'));
  first.close();
  appendFileSync(join(folder, readdirSync(folder)[0] ?? ''), Buffer.alloc(4096));
  open(folder).spool.append(request('b'));
  expect(chainOn(folder)).toHaveLength(4);
});

test.each<[string, (text: string) => string]>([
  ['changed', (text) => text.replace('"path":"/repos/acme/site/issues"', '"path":"/repos/acme/site/hidden"')],
  ['taken out', (text) => text.split('\n').toSpliced(2, 1).join('\n')],
  ['not JSON', (text) => text.split('\n').with(2, '{"kind":').join('\n')],
  ['of another node', (text) => text.replaceAll('"node":"node-1"', '"node":"node-2"')],
])('records behind one that is %s are set aside, and the chain goes on before it', (_name, change) => {
  const folder = freshFolder();
  const first = open(folder).spool;
  for (const id of ['a', 'b', 'c', 'd']) first.append(request(id));
  first.close();
  const path = join(folder, readdirSync(folder)[0] ?? '');
  writeFileSync(path, change(readFileSync(path, 'utf8')));
  const { spool, lines } = open(folder);
  spool.append(request('e'));
  const ids = chainOn(folder).map(({ id }) => id);
  expect(ids.slice(-2)).toEqual(['e', 'e']);
  expect(ids.length).toBeLessThan(8);
  expect(readdirSync(folder).some((name) => name.endsWith('.damaged-1'))).toBe(true);
  expect(lines.some(({ level }) => level === 'error')).toBe(true);
});

test('a file that is gone from the middle sets aside the ones after it', () => {
  const folder = freshFolder();
  for (const id of ['a', 'b', 'c']) {
    const { spool } = open(folder);
    spool.append(request(id));
    spool.close();
  }
  unlinkSync(join(folder, '0000000000000003.jsonl'));
  open(folder).spool.append(request('d'));
  expect(chainOn(folder).map(({ id }) => id)).toEqual(['a', 'a', 'd', 'd']);
  expect(existsSync(join(folder, '0000000000000005.jsonl.damaged-1'))).toBe(true);
});

test('what is acknowledged is not read again, after a restart either', async () => {
  const folder = freshFolder();
  const first = open(folder).spool;
  for (const id of ['a', 'b', 'c']) first.append(request(id));
  expect(await upload(first, 3)).toBe(3);
  first.close();
  const { spool } = open(folder);
  const batch = await spool.read(LIMIT);
  expect(batch?.firstSeq).toBe(4);
  expect(batch?.count).toBe(3);
});

test('an acknowledgement of a part of a batch keeps the rest', async () => {
  const { spool } = open(freshFolder());
  spool.append([...request('a'), ...request('b')]);
  const batch = await spool.read(LIMIT);
  if (batch === undefined) throw new Error('nothing to read');
  await spool.acknowledge(batch, 3);
  expect((await spool.read(LIMIT))?.firstSeq).toBe(4);
});

test.each([0, -5])('an acknowledgement of nothing (%i) changes nothing', async (storedSeq) => {
  const { spool } = open(freshFolder());
  spool.append(request('a'));
  const batch = await spool.read(LIMIT);
  if (batch === undefined) throw new Error('nothing to read');
  await spool.acknowledge(batch, storedSeq);
  expect((await spool.read(LIMIT))?.firstSeq).toBe(1);
});

test('numbers go on after everything was acknowledged and deleted', async () => {
  const folder = freshFolder();
  const first = open(folder).spool;
  first.append(request('a'));
  await upload(first);
  first.close();
  open(folder).spool.close();
  expect(readdirSync(folder).filter((name) => name.endsWith('.jsonl'))).toEqual([]);
  const { spool } = open(folder);
  spool.append(request('b'));
  const [record] = linesOf((await spool.read(LIMIT))?.lines ?? new Uint8Array());
  expect(JSON.parse(Buffer.from(record ?? '').toString()).seq).toBe(3);
});

test('the acknowledged position outlives the records that a power loss took', async () => {
  const folder = freshFolder();
  const first = open(folder).spool;
  for (const id of ['a', 'b']) first.append(request(id));
  await upload(first);
  first.close();
  const path = join(folder, '0000000000000001.jsonl');
  truncateSync(path, 700);
  const { spool } = open(folder);
  spool.append(request('c'));
  expect(spool.usage()).toMatchObject({ lastSeq: 6, acknowledgedSeq: 4 });
});

test('without its position the spool offers all that it has again', async () => {
  const folder = freshFolder();
  const first = open(folder, { bytesMax: MIB }).spool;
  for (let index = 0; index < 400; index++) first.append(request(`r${index}`));
  await upload(first);
  first.close();
  unlinkSync(join(folder, 'position.json'));
  const oldest = readdirSync(folder).sort()[0] ?? '';
  const { spool } = open(folder, { bytesMax: MIB });
  expect((await spool.read(LIMIT))?.firstSeq).toBe(Number.parseInt(oldest, 10));
  expect(spool.usage().lastSeq).toBe(800);
});

test.each<[string, string]>([
  ['cut', '{"v":1,"node":"node-1"'],
  ['of another node', '{"v":1,"node":"node-2","seq":0,"hash":"' + '0'.repeat(64) + '","open":[]}'],
  ['negative', '{"v":1,"node":"node-1","seq":-1,"hash":"' + '0'.repeat(64) + '","open":[]}'],
])('a position that is %s stops the start with the file named', (_name, text) => {
  const folder = freshFolder();
  writeFileSync(join(folder, 'position.json'), text);
  expect(() => open(folder)).toThrow(expect.objectContaining({ code: 'config_invalid', field: 'position.json' }));
});

test('a decision whose process died gets the outcome failed at the next start', () => {
  const folder = freshFolder();
  const first = open(folder).spool;
  first.append([decision('long')]);
  first.append([decision('other')]);
  first.append([outcome('other')]);
  first.close();
  open(folder).spool.close();
  expect(chainOn(folder).at(-1)).toMatchObject({ kind: 'outcome', id: 'long', result: 'failed', reason: 'internal' });
  open(folder).spool.close();
  expect(chainOn(folder)).toHaveLength(4);
});

test('so does one whose decision was acknowledged and deleted before', async () => {
  const folder = freshFolder();
  const first = open(folder, { bytesMax: MIB }).spool;
  first.append([decision('long')]);
  for (let index = 0; index < 300; index++) first.append(request(`r${index}`));
  while ((await upload(first)) > 0);
  first.close();
  open(folder).spool.close();
  expect(readFileSync(join(folder, '0000000000000602.jsonl'), 'utf8')).toContain('"id":"long"');
});

test('a counted refusal waits for no outcome', () => {
  const folder = freshFolder();
  const first = open(folder).spool;
  first.appendRefusals([decision('r', { result: 'refused', reason: 'token_missing', source: '192.0.2.0/24' })]);
  first.close();
  open(folder).spool.close();
  expect(chainOn(folder)).toHaveLength(1);
});

test('a refused request whose outcome was torn off is completed as refused', () => {
  const folder = freshFolder();
  const first = open(folder).spool;
  first.append([decision('x', { result: 'refused', reason: 'scope_refused' })]);
  first.close();
  open(folder).spool.close();
  expect(chainOn(folder).at(-1)).toMatchObject({ result: 'refused', reason: 'scope_refused' });
});

test('a full spool accepts nothing, says so at 80 %, and accepts again when the control plane has taken it', async () => {
  const folder = freshFolder();
  const { spool, lines } = open(folder, { bytesMax: MIB });
  let count = 0;
  while (spool.accepting() && count < 10_000) spool.append(request(`r${count++}`));
  expect(count).toBeLessThan(10_000);
  expect(spool.usage().bytes).toBeLessThan(MIB);
  expect(lines.filter(({ level }) => level === 'warn')).toHaveLength(1);
  while ((await upload(spool)) > 0);
  expect(spool.accepting()).toBe(true);
  spool.append(request('after'));
  expect(spool.usage().lastSeq).toBe(2 * count + 2);
});

test('requests under way still find room in a full spool, up to its bound', () => {
  const { spool } = open(freshFolder(), { bytesMax: MIB });
  while (spool.accepting()) spool.append(request('r'));
  for (let index = 0; index < 50; index++) spool.append(request(`late${index}`));
  expect(() => {
    for (let index = 0; index < 10_000; index++) spool.append(request(`flood${index}`));
  }).toThrow(expect.objectContaining({ code: 'audit_unavailable' }));
  expect(spool.usage().bytes).toBeLessThanOrEqual(MIB);
});

test('counted refusals fill their own reserve and nothing else', () => {
  const { spool } = open(freshFolder(), { bytesMax: MIB });
  const refusal = decision('r', { result: 'refused', reason: 'token_missing', source: '192.0.2.0/24' });
  let count = 0;
  while (spool.appendRefusals([refusal]) && count < 10_000) count++;
  expect(count).toBeLessThan(1_000);
  expect(spool.accepting()).toBe(true);
  spool.append(request('a'));
  expect(spool.usage().bytes).toBeLessThan(MIB / 8);
});

test('counted refusals find room in a spool that requests have filled', () => {
  const { spool } = open(freshFolder(), { bytesMax: MIB });
  while (spool.accepting()) spool.append(request('r'));
  expect(spool.appendRefusals([decision('r', { result: 'refused', source: '192.0.2.0/24' })])).toBe(true);
});

/** A disk that can be told to fail, or to write only a part. */
function failingDisk() {
  const mode = { fails: false, short: 0, openFails: false };
  const noSpace = () => Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
  const disk: SpoolDisk = {
    openSync(path, flags, fileMode) {
      if (mode.openFails) throw noSpace();
      return realDisk.openSync(path, flags, fileMode);
    },
    writeSync(fd, bytes) {
      if (mode.short > 0) return realDisk.writeSync(fd, bytes.subarray(0, mode.short));
      if (mode.fails) throw noSpace();
      return realDisk.writeSync(fd, bytes);
    },
    ftruncateSync: realDisk.ftruncateSync,
    datasync: realDisk.datasync,
    replace: realDisk.replace,
  };
  return { disk, mode };
}

test.each<[string, { fails?: boolean; short?: number; openFails?: boolean }]>([
  ['a write fails', { fails: true }],
  ['a write is cut short', { short: 100 }],
  ['a file cannot be made', { openFails: true }],
])('when %s nothing is accepted; with room again the chain is whole and holds what was decided', async (_name, fault) => {
  vi.useFakeTimers();
  try {
    const folder = freshFolder();
    const { disk, mode } = failingDisk();
    const { spool, lines } = open(folder, { disk });
    if (fault.openFails !== true) spool.append(request('before'));
    Object.assign(mode, fault);
    expect(() => spool.append(request('during'))).toThrow(expect.objectContaining({ code: 'audit_unavailable' }));
    expect(spool.accepting()).toBe(false);
    expect(spool.appendRefusals([decision('r')])).toBe(false);
    vi.advanceTimersByTime(5_000);
    expect(spool.accepting()).toBe(false);
    Object.assign(mode, { fails: false, short: 0, openFails: false });
    vi.advanceTimersByTime(1_500);
    expect(spool.accepting()).toBe(true);
    spool.append(request('after'));
    const records = chainOn(folder).filter(({ id }) => id !== 'before');
    expect(records.map(({ id, kind }) => `${id} ${kind}`)).toEqual([
      'during decision',
      'during outcome',
      'after decision',
      'after outcome',
    ]);
    expect(records[1]).toMatchObject({ result: 'failed', reason: 'audit_unavailable' });
    expect(lines.filter(({ level }) => level === 'error')).toHaveLength(1);
  } finally {
    vi.useRealTimers();
  }
});

test('a write cut short when what was kept has filled the spool breaks no chain', async () => {
  vi.useFakeTimers({ toFake: ['setInterval'] });
  try {
    const folder = freshFolder();
    const { disk, mode } = failingDisk();
    const { spool } = open(folder, { bytesMax: MIB, disk });
    let kept = 0;
    for (let index = 0; kept < 1_000; index++) {
      try {
        spool.append([decision(`r${index}`, { path: `/${'x'.repeat(500)}` }), outcome(`r${index}`)]);
      } catch {
        kept += 1;
      }
    }
    while ((await upload(spool)) > 0);
    const { seq, hash } = JSON.parse(readFileSync(join(folder, 'position.json'), 'utf8'));
    const write = disk.writeSync;
    let writes = 0;
    Object.assign(disk, {
      writeSync: (fd: number, bytes: Uint8Array) => {
        mode.short = ++writes === 2 ? 100 : 0;
        return write(fd, bytes);
      },
    });
    expect(() => spool.append(request('torn'))).toThrow(expect.objectContaining({ code: 'audit_unavailable' }));
    spool.appendRefusals([decision('refused', { result: 'refused', source: '192.0.2.0/24' })]);
    vi.advanceTimersByTime(1_500);
    spool.appendRefusals([decision('refused later', { result: 'refused', source: '192.0.2.0/24' })]);
    expect(chainOn(folder, 'node-1', seq + 1, hash).at(-1)?.id).toBe('refused later');
  } finally {
    vi.useRealTimers();
  }
});

/** A spool on a disk that fails when told to, and how another thread writes to it. */
function openForThreads() {
  const folder = freshFolder();
  const { disk, mode } = failingDisk();
  const { spool } = open(folder, { disk });
  const thread = (slot: number) =>
    createSpoolWriter({
      ...{ folder, node: 'node-1', bytesMax: 64 * MIB, memory: spool.memory, slot, strict: false, disk },
      ...{ log: memoryLog().log, wake: () => undefined },
    });
  const said = () =>
    chainOn(folder).map((record) => `${record.id} ${record.kind === 'outcome' ? record.result : 'decided'}`);
  return { folder, mode, spool, thread, said };
}

test('a request of a thread that ended on a full disk has one outcome, also when the next of its slot ends there', async () => {
  const { mode, spool, thread, said } = openForThreads();
  thread(1).append([decision('a')]);
  mode.fails = true;
  await spool.bury(1);
  await spool.bury(1);
  mode.fails = false;
  spool.close();
  expect(said()).toEqual(['a decided', 'a failed']);
});

test('what a thread could not write before it was replaced is written when there is room', async () => {
  const { mode, spool, thread, said } = openForThreads();
  const writer = thread(1);
  writer.append([decision('long')]);
  mode.fails = true;
  for (const drafts of [request('a'), [outcome('long')]])
    expect(() => writer.append(drafts)).toThrow(expect.objectContaining({ code: 'audit_unavailable' }));
  await spool.bury(1, writer.giveUp());
  mode.fails = false;
  spool.close();
  expect(said()).toEqual(['long decided', 'a decided', 'a failed', 'long failed']);
});

test('what a failed write left on the disk is not taken for that of a thread that ended after it', async () => {
  const { mode, spool, thread, said } = openForThreads();
  const [first, second] = [thread(1), thread(2)];
  first.append(request('before'));
  mode.short = 560;
  expect(() => first.append(request('a'))).toThrow(expect.objectContaining({ code: 'audit_unavailable' }));
  openSpoolState(spool.memory, 2).mutex.lock();
  await spool.bury(2, second.giveUp());
  mode.short = 0;
  await spool.bury(1, first.giveUp());
  spool.close();
  expect(said()).toEqual(['before decided', 'before completed', 'a decided', 'a failed']);
});

test('a disk that the spool has filled has room for the position, so that what is acknowledged is deleted', async () => {
  const folder = freshFolder();
  const noSpace = Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
  const replace: SpoolDisk['replace'] = async (path, bytes) => {
    if (existsSync(join(folder, 'reserve'))) throw noSpace;
    await realDisk.replace(path, bytes);
  };
  const { spool } = open(folder, { disk: { ...realDisk, replace } });
  spool.append(request('a'));
  expect(await upload(spool)).toBe(2);
  expect(spool.usage().acknowledgedSeq).toBe(2);
  expect(existsSync(join(folder, 'reserve'))).toBe(true);
});

test('a full disk at start does not keep the plane from starting', () => {
  const folder = freshFolder();
  const first = open(folder).spool;
  first.append([decision('long')]);
  first.close();
  const { disk, mode } = failingDisk();
  mode.fails = true;
  expect(open(folder, { disk }).spool.accepting()).toBe(false);
  open(folder).spool.close();
  expect(chainOn(folder).at(-1)).toMatchObject({ kind: 'outcome', id: 'long' });
});

test('numbers that a record cannot hold do not spoil the chain', () => {
  const folder = freshFolder();
  const { spool } = open(folder);
  spool.append([
    decision('a', { time: 1.5, count: 0 }),
    outcome('a', { latency_micros: -0.5, status: Number.NaN, response_bytes: 12.9 }),
  ]);
  expect(chainOn(folder)[1]).toMatchObject({ latency_micros: 0, status: 0, response_bytes: 12 });
});
