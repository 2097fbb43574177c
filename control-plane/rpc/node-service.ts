// NodeService: CreateEnrolment, List and Expel for admins, Enrol for whoever holds an enrolment token.
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ServiceImpl } from '@connectrpc/connect';
import type { Enrolments } from '../domain/enrolment.ts';
import type { KnownNode, Membership } from '../domain/membership.ts';
import { type NodeSchema, type NodeService, NodeState } from '../gen/daypass/v1/node_pb.ts';
import { callerOf } from './authenticate.ts';
import { createInFlight } from './in-flight.ts';
import { durationMs, toRollout, toTime, waitingOf } from './words.ts';

/** Enrolments under way at a time, of all who come: nobody has shown a credential yet. */
const ENROLLING_MAX = 64;
/** One more waits this long for its turn. */
const TURN_MS_MAX = 1000;
const EVERYBODY = '';

/** The handlers. */
export const nodeService = (enrolments: Enrolments, membership: Membership): ServiceImpl<typeof NodeService> => {
  const inFlight = createInFlight(ENROLLING_MAX, TURN_MS_MAX);
  return {
    createEnrolment: async ({ pool, name, ttl }, context) => {
      const made = await enrolments.create(callerOf(context), { pool, name, ttlMs: durationMs(ttl) });
      return { token: made.token, pool: made.pool, name: made.name, expireTime: toTime(made.expiresAt) };
    },
    enrol: async ({ token, name, jwk, proof }, { signal }) => {
      await inFlight.enter(EVERYBODY, signal);
      const enrolled = await enrolments.enrol({ token, name, jwk, proof }, signal);
      const { statement, signature } = enrolled.key;
      const root = JSON.stringify(enrolled.root);
      return { fleet: enrolled.fleet, root, pool: enrolled.pool, name: enrolled.name, key: { statement, signature } };
    },
    list: async ({ pageSize, pageToken }) => {
      const page = await membership.list({ pageSize, pageToken });
      return { nodes: page.nodes.map(toNode), nextPageToken: page.nextPageToken };
    },
    expel: async ({ name, wait }, context) => {
      const { node, rollout } = await membership.expel(callerOf(context), name, waitingOf(wait, context.signal));
      return { node: toNode(node), rollout: toRollout(rollout) };
    },
  };
};

const toNode = ({ row, state, newestVersion }: KnownNode): MessageInitShape<typeof NodeSchema> => ({
  name: row.name,
  pool: row.pool,
  state: STATES[state],
  version: BigInt(row.version),
  digest: row.digest,
  leaseExpiresAt: toTime(row.leaseExpiresAt === 0 ? undefined : row.leaseExpiresAt),
  refusedVersion: BigInt(row.nackVersion),
  nackCode: row.nackCode,
  nackMessage: row.nackMessage,
  software: row.software,
  reportTime: toTime(row.reportedAt === 0 ? undefined : row.reportedAt),
  enrolTime: toTime(row.enrolledAt),
  enrolledBy: row.enrolledBy,
  expelTime: toTime(row.expelledAt),
  newestVersion: BigInt(newestVersion),
});

const STATES: Readonly<Record<KnownNode['state'], NodeState>> = {
  enrolled: NodeState.ENROLLED,
  expelled: NodeState.EXPELLED,
  withdrawn: NodeState.WITHDRAWN,
};
