// SnapshotService: Get, Watch and Report, for nodes.
import type { ServiceImpl } from '@connectrpc/connect';
import { DaypassError } from '@daypass/core/errors';
import type { Nodes } from '../domain/nodes.ts';
import type { Published } from '../domain/publisher.ts';
import type { ReportRequest, SnapshotService } from '../gen/daypass/v1/snapshot_pb.ts';
import { nodeOf } from './authenticate.ts';
import { safeNumber, timeMs } from './words.ts';

/** The handlers. */
export const snapshotService = (nodes: Nodes): ServiceImpl<typeof SnapshotService> => ({
  get: (_request, context) => ({ snapshot: toSnapshot(nodes.newest(nodeOf(context))) }),
  watch: async function* (request, context) {
    const has = { version: safeNumber(request.version, 'version'), digest: request.digest };
    for await (const event of nodes.watch(nodeOf(context), has, context.signal)) {
      yield event.kind === 'snapshot'
        ? { event: { case: 'snapshot' as const, value: toSnapshot(event.published) } }
        : { event: { case: 'heartbeat' as const, value: { version: BigInt(event.version) } } };
    }
  },
  report: async (request, context) => {
    await nodes.report(nodeOf(context), reportOf(request));
    return {};
  },
});

const toSnapshot = ({ snapshot: { manifest, signature, key, entries } }: Published) => ({
  manifest,
  signature,
  key: { statement: key.statement, signature: key.signature },
  entries: entries.map(({ kind, name, content }) => ({ kind, name, content })),
});

const reportOf = (request: ReportRequest) => {
  if (!/^[a-z_]*$/.test(request.nackCode)) {
    throw new DaypassError('invalid_argument', 'is not an error code', { field: 'nack_code' });
  }
  const { node, digest, nackCode, nackMessage, software } = request;
  return {
    node,
    digest,
    nackCode,
    nackMessage,
    software,
    version: safeNumber(request.version, 'version'),
    refusedVersion: safeNumber(request.refusedVersion, 'refused_version'),
    leaseExpiresAt: Math.round(timeMs(request.leaseExpiresAt, 'lease_expires_at') ?? 0),
  };
};
