// A process that stores numbered steps in transactions until it is killed, and says each number once it is stored.
import { openStore } from '../../control-plane/store/open.ts';
import { event, outcome, record, snapshot, token } from './rows.ts';

const store = await openStore({ url: process.argv[2] ?? '' });
let step = (await store.read.snapshots.latest('default'))?.version ?? 0;
for (;;) {
  step += 1;
  await store.transact(async (tx) => {
    await tx.tokens.insert(token(`t${step}`));
    await tx.audit.insertRecords([record('n', step * 2 - 1), record('n', step * 2)]);
    await tx.audit.insertEvents([event(`d${step}`, { seq: step })]);
    await tx.audit.complete([outcome(`d${step}`)]);
    await tx.snapshots.insert(snapshot('default', step), []);
  });
  process.stdout.write(`${step}\n`);
}
