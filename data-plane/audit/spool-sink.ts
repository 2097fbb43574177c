// The audit as the request path sees it: records into the spool, refusals of outsiders into the counter.
import { createRefusalCounter } from './refusals.ts';
import type { AuditSink } from './sink.ts';
import type { SpoolWriter } from './writer.ts';

type Deps = {
  readonly spool: Pick<SpoolWriter, 'accepting' | 'append' | 'appendRefusals' | 'commit'>;
  /** Decisions are durable before their requests go on. */
  readonly strict: boolean;
  readonly now: () => number;
  readonly newId: () => string;
  readonly snapshotVersion: () => number;
};

/** Disposing writes what is counted; the spool stays open. */
export function createSpoolSink({ spool, strict, now, newId, snapshotVersion }: Deps): AuditSink & Disposable {
  const write = spool.appendRefusals;
  const refusals = createRefusalCounter({ write, now, newId, snapshotVersion });
  return {
    accepting: spool.accepting,
    append: spool.append,
    commit: strict ? spool.commit : undefined,
    countRefusal: refusals.count,
    [Symbol.dispose]: refusals.close,
  };
}
