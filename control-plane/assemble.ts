// Joins the parts of the domain over an open store: everything by hand, nothing global.
import { randomBytes, randomInt } from 'node:crypto';
import { createUpstreamPolicy } from '@daypass/core/address';
import type { KeyEntry } from '@daypass/core/service';
import { importVerificationKey, type VerificationKey } from '@daypass/core/token';
import type { ControlPlaneConfig } from './config.ts';
import { createAuditElsewhere } from './domain/audit-elsewhere.ts';
import { createAuditFeed } from './domain/audit-feed.ts';
import { createIngest } from './domain/audit-ingest.ts';
import { createAuditQuery } from './domain/audit-query.ts';
import { createTail } from './domain/audit-tail.ts';
import { createCallers } from './domain/callers.ts';
import { createCallerCeilings } from './domain/ceiling.ts';
import { createChanges } from './domain/change.ts';
import { createEnrolments } from './domain/enrolment.ts';
import { createExchange } from './domain/exchange.ts';
import { createIdentify } from './domain/identity.ts';
import { createIntrospect } from './domain/introspect.ts';
import { createKeys } from './domain/keys.ts';
import { createMembership } from './domain/membership.ts';
import { createMint, createMintBatch } from './domain/mint.ts';
import { createNodes } from './domain/nodes.ts';
import { createPublisher, type Publisher } from './domain/publisher.ts';
import { createRevoke } from './domain/revoke.ts';
import { createRollouts } from './domain/rollout.ts';
import { createSetScope } from './domain/scopes.ts';
import { createServices } from './domain/services.ts';
import { createStatusPlaces } from './domain/status-index.ts';
import { createTokenSigner } from './domain/token-signer.ts';
import { createTokenList } from './domain/tokens.ts';
import { createHeed } from './heed.ts';
import type { ControlHome } from './home.ts';
import type { Log } from './log.ts';
import { ownEndpoints } from './own-endpoints.ts';
import type { Domain } from './rpc/routes.ts';
import type { Notices, Store } from './store/interface.ts';

/** Longest lease that a node may still honour, and clocks that differ: how long a status index rests. */
const CLOCKS_MS = 60_000;
const LONGEST_LEASE_MS = 24 * 60 * 60 * 1000;

type Parts = {
  readonly config: ControlPlaneConfig;
  readonly home: ControlHome;
  readonly store: Store;
  readonly log: Log;
  /** Milliseconds. */
  readonly now: () => number;
};

/** The domain, its publisher, started, and what is to hear the store's notices. */
type Assembled = Domain & { readonly publisher: Publisher; readonly heed: Parameters<Notices['on']>[0] };

/** Joins the domain. */
export const assemble = async ({ config, home, store, log, now }: Parts): Promise<Assembled> => {
  const newId = (): string => makeId(now(), randomBytes(10));
  const { fleet, root } = home;
  const { kid, publicJwk } = home.tokenKey;
  const { x } = publicJwk;
  const tokenKey: KeyEntry = { kid, alg: 'Ed25519', issuer: config.issuer, jwk: { kty: 'OKP', crv: 'Ed25519', x } };
  const keyring: ReadonlyMap<string, VerificationKey> = new Map([[kid, await importVerificationKey(tokenKey)]]);
  const policy = createUpstreamPolicy({ allow: config.allowUpstreamRanges, own: ownEndpoints(config.ownListeners) });
  const { read } = store;

  const restMs = Math.max(config.leaseMs, await longestLease(store, home)) + CLOCKS_MS;
  const places = createStatusPlaces({ now, random: (bound) => randomInt(bound), restMs });
  const publisher = createPublisher({
    ...{ store, fleet, root, now },
    signers: home.snapshotSigners,
    keys: [tokenKey],
    leaseMs: config.leaseMs,
  });
  await publisher.start();

  const feed = createAuditFeed();
  const changes = createChanges({ store, publisher, announce: feed.publish, now, newId });
  const rollouts = createRollouts({ nodes: read.nodes, now });
  const { hasPool } = publisher;
  const keys = createKeys({ fleet, root, verification: [tokenKey], sealing: home.sealingKeys, hasPool, now });
  const { sealingKids } = keys;
  const signer = createTokenSigner(config.issuer, kid, home.tokenKey.key);
  const ceilings = createCallerCeilings();
  const nodes = createNodes({
    ...{ store, publisher, now },
    reported: rollouts.reported,
    refused: ({ node, refusedVersion, nackCode, nackMessage }) =>
      log.warn('a node refused a snapshot', { node, version: refusedVersion, code: nackCode, why: nackMessage }),
  });
  const issuing = { changes, ceilings, places, signer, fleet, now, newId };

  return {
    publisher,
    keys,
    identify: createIdentify({ read, fleet, now }),
    services: createServices({ changes, rollouts, publisher, rules: { policy, sealingKids }, read, now, newId }),
    setScope: createSetScope({ changes, read, rollouts, ceilings, publisher, now, newId }),
    callers: createCallers({ changes, rollouts, publisher, read, now, newId, randomBytes }),
    tokens: {
      mint: createMint({ ...issuing, sealingKids }),
      mintBatch: createMintBatch({ ...issuing, sealingKids }),
      exchange: createExchange({ ...issuing, keys: keyring }),
      introspect: createIntrospect({ read, keys: keyring, fleet, now }),
      revoke: createRevoke({ changes, rollouts, publisher, keys: keyring, fleet, now, newId }),
      list: createTokenList({ read, now }),
    },
    nodes,
    enrolments: createEnrolments({ changes, rollouts, publisher, read, fleet, root, now, randomBytes }),
    membership: createMembership({ changes, rollouts, publisher, read, recheck: nodes.recheck, now }),
    audit: {
      ingest: createIngest({ store, feed }),
      query: createAuditQuery(read),
      tail: createTail({ read, feed }),
    },
    check: () => store.ping(),
    heed: createHeed({
      ...{ publisher, log, reported: rollouts.reported, recheckNodes: nodes.recheck },
      auditElsewhere: createAuditElsewhere({ read, feed, now }),
    }),
  };
};

/**
 * 128 bits in hex that rise with the time: rows that are made together then lie together in every index by an id, and a
 * group writes a few pages of it where ids of all sizes would write one for each row. 80 bits of it are random.
 */
const makeId = (at: number, random: Buffer): string =>
  Math.max(0, Math.floor(at)).toString(16).padStart(12, '0').slice(-12) + random.toString('hex');

/** The lease may have been longer before: snapshots of that time are honoured still. */
const longestLease = async ({ read }: Store, home: ControlHome): Promise<number> => {
  const leases = await Promise.all(
    [...home.snapshotSigners.keys()].map(async (pool) => {
      const last = await read.snapshots.latest(pool);
      return last === undefined ? 0 : last.expiresAt - last.issuedAt;
    }),
  );
  return Math.min(LONGEST_LEASE_MS, Math.max(0, ...leases));
};
