// A control plane over a socket that has nothing but one chain of snapshots, for tests that run a node as a process.
import { createServer } from 'node:http';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import type { EntryChange } from '@daypass/core/snapshot';
import { AuditService } from '@daypass/sdk/gen/daypass/v1/audit_pb';
import { type ReportRequest, type SnapshotDelta, SnapshotService } from '@daypass/sdk/gen/daypass/v1/snapshot_pb';
import type { Chain } from './chain.ts';

/** Steps that are kept for nodes that are behind. */
const STEPS_MAX = 64;

/** Serves the chain on a free port; `change` makes the next version and sends it to all that watch. */
export async function startSource(chain: Chain) {
  const steps = new Map<string, SnapshotDelta>();
  const reports: ReportRequest[] = [];
  let wake = Promise.withResolvers<void>();
  const ended = new AbortController();
  async function* follow(digest: string, acceptsDelta: boolean, signal: AbortSignal) {
    let has = digest;
    yield { event: { case: 'heartbeat', value: { version: BigInt(chain.version()) } } } as const;
    while (!signal.aborted && !ended.signal.aborted) {
      const woken = wake.promise;
      const step = acceptsDelta ? steps.get(has) : undefined;
      if (has === chain.digest()) await woken;
      else if (step !== undefined) {
        has = digestAfter(step);
        yield { event: { case: 'delta', value: step } } as const;
      } else {
        has = chain.digest();
        yield { event: { case: 'snapshot', value: chain.whole() } } as const;
      }
    }
  }
  const digests = new Map<SnapshotDelta, string>();
  const digestAfter = (step: SnapshotDelta): string => digests.get(step) ?? '';
  const handler = connectNodeAdapter({
    routes(router) {
      router.service(SnapshotService, {
        watch: ({ digest, acceptsDelta }, { signal }) => {
          signal.addEventListener('abort', () => wakeAll());
          return follow(digest, acceptsDelta, signal);
        },
        report(request) {
          reports.push(request);
          return {};
        },
      });
      router.service(AuditService, { ingest: () => ({ storedSeq: 0n }) });
    },
  });
  const wakeAll = (): void => {
    wake.resolve();
    wake = Promise.withResolvers<void>();
  };
  const server = createServer(handler);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  return {
    url: `http://127.0.0.1:${port}`,
    reports,
    async change(changes: readonly EntryChange[]): Promise<SnapshotDelta> {
      const from = chain.digest();
      const step = await chain.next(changes);
      digests.set(step, chain.digest());
      steps.set(from, step);
      for (const old of steps.keys()) if (steps.size > STEPS_MAX) steps.delete(old);
      wakeAll();
      return step;
    },
    /** Forgets how nodes that are behind get on: they need all of it. */
    forget: () => steps.clear(),
    close() {
      ended.abort();
      wakeAll();
      server.closeAllConnections();
      server.close();
    },
  };
}
