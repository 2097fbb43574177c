// The audit as the request path sees it: records into the spool, refusals of outsiders into the counter.
import type { SnapshotAgent } from '../snapshot/agent.ts';
import { createRefusalCounter } from './refusals.ts';
import type { AuditSink } from './sink.ts';
import type { Spool } from './spool.ts';

type Deps = {
  readonly spool: Spool;
  readonly now: () => number;
  readonly newId: () => string;
  readonly snapshot: Pick<SnapshotAgent, 'state'>;
};

/** Disposing writes what is counted; the spool stays open. */
export function createSpoolSink({ spool, now, newId, snapshot }: Deps): AuditSink & Disposable {
  const refusals = createRefusalCounter({
    write: (records) => spool.appendRefusals(records),
    now,
    newId,
    snapshotVersion: () => snapshot.state().version,
  });
  return {
    accepting: spool.accepting,
    append: spool.append,
    countRefusal: refusals.count,
    [Symbol.dispose]: refusals.close,
  };
}
