// SnapshotService: Get, Watch and Report, for nodes.
import { create } from '@bufbuild/protobuf';
import type { ServiceImpl } from '@connectrpc/connect';
import { DaypassError } from '@daypass/core/errors';
import type { NodeState } from '../domain/node-feed.ts';
import type { Nodes } from '../domain/nodes.ts';
import {
  type ReportRequest,
  type SnapshotService,
  type SnapshotServiceGetRequest,
  SnapshotServiceGetResponseSchema,
  type WatchRequest,
  WatchResponseSchema,
} from '../gen/daypass/v1/snapshot_pb.ts';
import { nodeOf } from './authenticate.ts';
import { createEventWriter, isBinary, toDelta, toSnapshot } from './snapshot-words.ts';
import { safeNumber, timeMs } from './words.ts';

/** The handlers. */
export const snapshotService = (nodes: Nodes): ServiceImpl<typeof SnapshotService> => {
  const write = createEventWriter();
  return {
    get: async (request, context) => {
      const event = await nodes.next(nodeOf(context), stateOf(request));
      if (event === undefined) return {};
      if (isBinary(context.requestHeader)) {
        return write(
          create(SnapshotServiceGetResponseSchema),
          event.kind === 'delta' ? GET_DELTA : GET_SNAPSHOT,
          event,
        );
      }
      return event.kind === 'delta' ? { delta: toDelta(event.delta) } : { snapshot: toSnapshot(event.published) };
    },
    watch: async function* (request, context) {
      const asBinary = isBinary(context.requestHeader);
      for await (const event of nodes.watch(nodeOf(context), stateOf(request), context.signal)) {
        if (event.kind === 'heartbeat') {
          yield { event: { case: 'heartbeat' as const, value: { version: BigInt(event.version) } } };
        } else if (asBinary) {
          yield await write(create(WatchResponseSchema), event.kind === 'delta' ? WATCH_DELTA : WATCH_SNAPSHOT, event);
        } else if (event.kind === 'delta') {
          yield { event: { case: 'delta' as const, value: toDelta(event.delta) } };
        } else {
          yield { event: { case: 'snapshot' as const, value: toSnapshot(event.published) } };
        }
      }
    },
    report: async (request, context) => {
      await nodes.report(nodeOf(context), reportOf(request));
      return {};
    },
  };
};

const GET_SNAPSHOT = SnapshotServiceGetResponseSchema.field.snapshot.number;
const GET_DELTA = SnapshotServiceGetResponseSchema.field.delta.number;
const WATCH_SNAPSHOT = WatchResponseSchema.field.snapshot.number;
const WATCH_DELTA = WatchResponseSchema.field.delta.number;

const stateOf = (request: WatchRequest | SnapshotServiceGetRequest): NodeState => ({
  version: safeNumber(request.version, 'version'),
  digest: request.digest,
  acceptsDelta: request.acceptsDelta,
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
