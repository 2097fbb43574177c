// Joins the parts of the domain over an open store: everything by hand, nothing global.
import { randomBytes, randomInt } from 'node:crypto';
import { createUpstreamPolicy } from '@daypass/core/address';
import type { ControlPlaneConfig } from './config.ts';
import { createAuditElsewhere } from './domain/audit-elsewhere.ts';
import { createAuditFeed } from './domain/audit-feed.ts';
import { createIngest } from './domain/audit-ingest.ts';
import { createAuditQuery } from './domain/audit-query.ts';
import { createTail } from './domain/audit-tail.ts';
import { createCallers } from './domain/callers.ts';
import { createCanaries } from './domain/canaries.ts';
import { createCallerCeilings } from './domain/ceiling.ts';
import { createChanges } from './domain/change.ts';
import { createEnrolments } from './domain/enrolment.ts';
import { createExchange } from './domain/exchange.ts';
import { createHistory, type History } from './domain/history.ts';
import { createIdentify } from './domain/identity.ts';
import { createIntrospect } from './domain/introspect.ts';
import { createKeyList } from './domain/key-list.ts';
import { createRetireKey } from './domain/key-retire.ts';
import { createKeyring } from './domain/keyring.ts';
import { createKeys } from './domain/keys.ts';
import { createMembership } from './domain/membership.ts';
import { createMint, createMintBatch } from './domain/mint.ts';
import { createNodes } from './domain/nodes.ts';
import { createPublishedVersions } from './domain/published-versions.ts';
import { createPublisher, type Publisher } from './domain/publisher.ts';
import { createRelease } from './domain/release.ts';
import { createReleaseTest } from './domain/release-test.ts';
import { createRevoke } from './domain/revoke.ts';
import { createRollouts } from './domain/rollout.ts';
import { createPlanScope, createSetScope } from './domain/scopes.ts';
import { createServicePlans } from './domain/service-plans.ts';
import { createServices } from './domain/services.ts';
import { REVOKED_AFTER_END_MS } from './domain/snapshot-content.ts';
import { createResign } from './domain/snapshot-keys.ts';
import { createStatusPlaces } from './domain/status-index.ts';
import { createTokenKeys } from './domain/token-keys.ts';
import { createTokenSigners } from './domain/token-signers.ts';
import { createTokenList } from './domain/tokens.ts';
import { createTry } from './domain/trial.ts';
import { createHeed } from './heed.ts';
import type { ControlHome } from './home.ts';
import { createInsist } from './insist.ts';
import type { Log } from './log.ts';
import { ownEndpoints } from './own-endpoints.ts';
import type { Domain } from './rpc/routes.ts';
import type { Notices, Store } from './store/interface.ts';

/** Longest lease that a node may still honour, after the last snapshot that shows a token, and clocks that differ: how long a status index rests. */
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

/** What the process has to do now and then, besides serving. */
export type Upkeep = {
  readonly publisher: Publisher;
  readonly history: History;
  /** Hears the store's notices. */
  readonly heed: Parameters<Notices['on']>[0];
  /** What is tried again, until it is disposed of. */
  readonly insist: Disposable;
  /** Takes back canaries that do harm, and promotes those that are due. */
  readonly lookAtCanaries: () => Promise<void>;
  /** Takes the keys of a home that was read again. */
  readonly takeHome: (home: ControlHome) => Promise<void>;
  /** Takes the steps of keys that are due; waits for nodes, at most 5 s. */
  readonly advanceKeys: (signal: AbortSignal) => Promise<void>;
};

/** The domain, its publisher, started, and the history of what that has published. */
export const assemble = async ({ config, home, store, log, now }: Parts): Promise<Domain & Upkeep> => {
  const newId = (): string => makeId(now(), randomBytes(10));
  const { fleet, root } = home;
  let keysOfHome: Pick<ControlHome, 'snapshotSigners' | 'sealingKeys'> = home;
  const snapshotSigners = () => keysOfHome.snapshotSigners;
  const sealingKeys = () => keysOfHome.sealingKeys;
  const policy = createUpstreamPolicy({ allow: config.allowUpstreamRanges, own: ownEndpoints(config.ownListeners) });
  const { read } = store;

  const restMs = Math.max(config.leaseMs, await longestLease(store, home)) + REVOKED_AFTER_END_MS + CLOCKS_MS;
  const places = createStatusPlaces({ now, random: (bound) => randomInt(bound), restMs });
  const publisher = createPublisher({
    ...{ store, fleet, root, now },
    signers: snapshotSigners,
    leaseMs: config.leaseMs,
  });
  const feed = createAuditFeed();
  const changes = createChanges({ store, publisher, announce: feed.publish, now, newId });
  const tell = (message: string, kid: string): void => log.info(message, { kid });
  const rollouts = createRollouts({ nodes: read.nodes, snapshots: read.snapshots, now });
  const keys = createKeys({ fleet, root, read, sealingKeys, hasPool: publisher.hasPool, now });
  const { sealingKids } = keys;
  const keyring = createKeyring(read);
  const signers = createTokenSigners();
  const ceilings = createCallerCeilings();
  const nodes = createNodes({
    ...{ store, publisher, now },
    reported: rollouts.reported,
    refused: ({ node, refusedVersion, nackCode, nackMessage }) =>
      log.warn('a node refused a snapshot', { node, version: refusedVersion, code: nackCode, why: nackMessage }),
  });
  const issuing = { changes, ceilings, places, signers, fleet, now, newId };
  const resign = createResign({ changes, publisher, signers: snapshotSigners, tell });
  const { issuer } = config;
  const tokenKeys = createTokenKeys({ store, changes, rollouts, publisher, signers, issuer, now, tell });
  await tokenKeys.begin(home.tokenKeys);
  await publisher.start();
  await tokenKeys.hold(home.tokenKeys);
  await keys.learn();

  const insist = createInsist((what, error) => log.error('what was written was not taken up yet', { what, error }));
  const recheck = (): Promise<void> => insist.run('nodes', nodes.recheck);
  const timed = { now, newId };
  const plans = createServicePlans({ publisher, rules: { policy, sealingKids }, ...timed });
  const planScope = createPlanScope({ read, ceilings, publisher, ...timed });
  const attempt = createTry({ store, publisher });
  const canaries = createCanaries({
    ...{ changes, rollouts, attempt, read, now, newId, sealingKids },
    tell: (message, { pool, subject, nodes }, why) => log.warn(message, { pool, subject, nodes, why }),
  });
  const release = createRelease({ changes, rollouts, canaries });

  return {
    publisher,
    insist,
    takeHome: async (fresh) => {
      const before = keysOfHome;
      keysOfHome = fresh;
      try {
        await resign();
      } catch (error) {
        // Such as a key of a generation that has ended: nothing could be published any more.
        keysOfHome = before;
        throw error;
      }
      await tokenKeys.hold(fresh.tokenKeys);
    },
    advanceKeys: async (signal) => {
      await keys.learn();
      await tokenKeys.advance(signal);
    },
    lookAtCanaries: canaries.look,
    history: createHistory({ store, pools: publisher.pools, historyMs: config.historyMs, now }),
    keys,
    keysAdmin: {
      list: createKeyList({ read, held: signers.held, snapshotSigners, sealingKeys, now }),
      retire: createRetireKey({ changes, rollouts, publisher, keys, sealingKeys, now }),
    },
    identify: createIdentify({ store, fleet, now }),
    services: createServices({ release, plans, read }),
    setScope: createSetScope({ changes, release, plan: planScope }),
    callers: createCallers({ changes, rollouts, publisher, read, now, newId, randomBytes }),
    tokens: {
      mint: createMint({ ...issuing, sealingKids }),
      mintBatch: createMintBatch({ ...issuing, sealingKids }),
      exchange: createExchange({ ...issuing, keyring }),
      introspect: createIntrospect({ read, keyring, fleet, now }),
      revoke: createRevoke({ changes, rollouts, publisher, keyring, fleet, now, newId }),
      list: createTokenList({ read, now }),
    },
    nodes,
    enrolments: createEnrolments({ changes, rollouts, publisher, read, fleet, root, now, randomBytes }),
    membership: createMembership({ changes, rollouts, publisher, read, recheck, now }),
    releases: {
      versions: createPublishedVersions({ read, hasPool: publisher.hasPool }),
      test: createReleaseTest({ attempt, read, now }),
      ...{ plans, planScope, canaries },
    },
    audit: {
      ingest: createIngest({ store, feed }),
      query: createAuditQuery(read),
      tail: createTail({ read, feed }),
    },
    check: () => store.ping(),
    heed: createHeed({
      ...{ publisher, insist, reported: rollouts.reported, recheckNodes: nodes.recheck, learnKeys: keys.learn },
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
