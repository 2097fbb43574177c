// A process that writes to a spool as fast as it can, and takes what is acknowledged into a file, until it is killed.
// Arguments: folder, prefix of its decision ids. Says each id once its records are on disk.

import { appendFileSync, writeSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { linesOf } from '../../../data-plane/audit/segment.ts';
import { openSpool, type Spool } from '../../../data-plane/audit/spool.ts';
import { createLog } from '../../../data-plane/log.ts';
import { decision, outcome } from './drafts.ts';

const [folder = '', prefix = ''] = process.argv.slice(2);

const log = createLog('error', (line) => writeSync(2, line));
const spool = openSpool({ folder: `${folder}/spool`, node: 'node-1', bytesMax: 1024 * 1024, now: Date.now, log });

async function upload(from: Spool): Promise<void> {
  for (;;) {
    const batch = await from.read({ records: 37, bytes: 100_000 });
    if (batch !== undefined) {
      const lines = [...linesOf(batch.lines)].map(
        (record, index) => `${batch.firstSeq + index} ${Buffer.from(record).toString()}\n`,
      );
      appendFileSync(`${folder}/stored`, lines.join(''));
      await from.acknowledge(batch, batch.firstSeq + batch.count - 1);
    }
    await setImmediate();
  }
}

async function write(to: Spool): Promise<void> {
  for (let count = 0; ; count++) {
    const id = `${prefix}-${count}`;
    if (to.accepting()) {
      if (count % 3 === 0) to.append([decision(id)]);
      to.append(count % 3 === 0 ? [outcome(id)] : [decision(id), outcome(id)]);
      writeSync(1, `${id}\n`);
    }
    await setImmediate();
  }
}

await Promise.all([upload(spool), write(spool)]);
