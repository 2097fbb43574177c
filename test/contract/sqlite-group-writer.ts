// A process that stores numbered rows, many transactions at a time, until it is killed, and says each number once it is stored.
import { openStore } from '../../control-plane/store/open.ts';
import { event, record, token } from './rows.ts';

/** At a time. */
const LANES = 24;

const store = await openStore({ url: process.argv[2] ?? '' });
let next = (await store.read.audit.last('n'))?.seq ?? 0;
const start = next * 1000;

const write = (number: number): Promise<void> =>
  store.transact(async (tx) => {
    const seq = ((await tx.audit.last('n'))?.seq ?? 0) + 1;
    await tx.tokens.insert(token(`t${number}`));
    await tx.audit.insertRecords([record('n', seq)]);
    await tx.audit.insertEvents([event(`t${number}`, { seq, kind: 'change' })]);
    if (number % 5 === 0) throw new Error('refused');
  });

const lane = async (): Promise<void> => {
  for (;;) {
    next += 1;
    const number = start + next;
    await write(number).then(
      () => process.stdout.write(`${number}\n`),
      () => {},
    );
  }
};
await Promise.all(Array.from({ length: LANES }, lane));
