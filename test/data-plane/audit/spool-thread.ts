// A thread that appends to a spool that others append to, too; or that ends in the middle of doing so.
import { appendFileSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { segmentPath } from '../../../data-plane/audit/files.ts';
import { lineOf } from '../../../data-plane/audit/line.ts';
import { hashOf } from '../../../data-plane/audit/segment.ts';
import { openSpoolState, type SpoolMemory } from '../../../data-plane/audit/spool-memory.ts';
import { createSpoolWriter } from '../../../data-plane/audit/writer.ts';
import { createLog } from '../../../data-plane/log.ts';
import { decision, outcome } from './drafts.ts';

/** What the thread is to do. */
export type Task = {
  readonly folder: string;
  readonly memory: SpoolMemory;
  readonly slot: number;
  readonly rounds: number;
  readonly bytesMax: number;
  /** Whether it ends while it holds the lock. */
  readonly dies: boolean;
};

const { folder, memory, slot, rounds, bytesMax, dies } = workerData as Task;
const log = createLog('error', () => undefined);
const wake = (): void => parentPort?.postMessage('appended');
const writer = createSpoolWriter({ folder, node: 'node-1', bytesMax, memory, slot, strict: false, log, wake });

for (let round = 0; round < rounds; round += 1) {
  const id = `s${slot}-${round}`;
  while (!writer.accepting()) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
  if (round % 5 === 0) writer.append([decision(id)]);
  writer.append(round % 5 === 0 ? [outcome(id)] : [decision(id), outcome(id)]);
  if (round % 7 === 0) writer.appendRefusals([decision(`r${id}`, { result: 'refused', source: '192.0.2.0/24' })]);
}
if (dies) {
  writer.append([decision(`s${slot}-open`)]);
  const state = openSpoolState(memory, slot);
  state.mutex.lock();
  // Behind what is committed: a whole record, and a part of another one.
  const { seq, hash, firstSeq } = state.tail();
  const line = lineOf(decision(`s${slot}-last`), { seq: seq + 1, prev: hash, node: 'node-1' });
  const next = lineOf(decision(`s${slot}-torn`), { seq: seq + 2, prev: hashOf(line), node: 'node-1' });
  appendFileSync(segmentPath(folder, firstSeq), `${line}\n${next.slice(0, 100)}`);
}
parentPort?.postMessage('done');
