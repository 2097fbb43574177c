// The spool of a process that is killed again and again while it writes and uploads.

import { createHash } from 'node:crypto';
import { appendFileSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ChainedRecord, GENESIS, readChain } from '@daypass/core/audit';
import { expect, test } from 'vitest';
import { linesOf } from '../../../data-plane/audit/segment.ts';
import { openSpool } from '../../../data-plane/audit/spool.ts';
import { until } from '../../kit/deadline.ts';
import { launch } from '../../kit/process.ts';
import { freshFolder, memoryLog } from './records.ts';

const writer = join(import.meta.dirname, 'spool-writer.ts');

/** Kills a writer once it has said a random number of ids; returns the ids whose records it had written. */
async function writeAndKill(folder: string, prefix: string): Promise<readonly string[]> {
  const running = launch(process.execPath, [writer, folder, prefix]);
  const enough = 50 + Math.floor(Math.random() * 400);
  await until('the writer writes', () => running.stdout().split('\n').length > enough);
  running.kill('SIGKILL');
  const { stdout, stderr } = await running.ended;
  expect(stderr).toBe('');
  return stdout.split('\n').slice(0, -1);
}

/** What the control plane would have: all that was uploaded, and all that is still in the spool. */
async function everything(folder: string): Promise<ReadonlyMap<number, string>> {
  const { log } = memoryLog();
  const spool = openSpool({ folder: join(folder, 'spool'), node: 'node-1', bytesMax: 1024 * 1024, now: Date.now, log });
  for (let batch = await spool.read(LIMIT); batch !== undefined; batch = await spool.read(LIMIT)) {
    const { firstSeq, count, lines } = batch;
    for (const [index, record] of [...linesOf(lines)].entries())
      appendFileSync(join(folder, 'stored'), `${firstSeq + index} ${Buffer.from(record).toString()}\n`);
    await spool.acknowledge(batch, firstSeq + count - 1);
  }
  spool.close();
  const stored = new Map<number, string>();
  for (const line of readFileSync(join(folder, 'stored'), 'utf8').split('\n').slice(0, -1)) {
    const [seq = '', ...rest] = line.split(' ');
    const record = rest.join(' ');
    // Twice is fine, differently is not.
    expect(stored.get(Number(seq)) ?? record).toBe(record);
    stored.set(Number(seq), record);
  }
  return stored;
}

const LIMIT = { records: 500, bytes: 1024 * 1024 };

test('kill -9 at any moment loses nothing that was written, and breaks no chain', async () => {
  const folder = freshFolder();
  mkdirSync(join(folder, 'spool'));
  const said: string[] = [];
  for (const round of [1, 2, 3, 4, 5, 6]) said.push(...(await writeAndKill(folder, `round${round}`)));

  const stored = await everything(folder);
  const sequence = [...stored.keys()].sort((a, b) => a - b);
  expect(sequence).toEqual(sequence.map((_, index) => index + 1));
  const chain = readChain(
    sequence.map((seq) => Buffer.from(stored.get(seq) ?? '')),
    { node: 'node-1', firstSeq: 1, prev: GENESIS },
    (bytes) => createHash('sha256').update(bytes).digest(),
  );
  const ids = (kind: string, of: readonly ChainedRecord[] = chain) =>
    of.filter(({ record }) => record.kind === kind).map(({ record }) => record.id);
  expect(said.length).toBeGreaterThan(300);
  expect(said.filter((id) => !new Set(ids('outcome')).has(id))).toEqual([]);
  // Each decision once, each with one outcome: those cut off by the kill got theirs at the next start.
  expect(new Set(ids('decision')).size).toBe(ids('decision').length);
  expect(ids('outcome').toSorted()).toEqual(ids('decision').toSorted());
}, 60_000);
