// Keeps this node's configuration current: watches for snapshots, verifies, activates, stores, swaps, reports.
import { createHash } from 'node:crypto';
import type { Client } from '@connectrpc/connect';
import { DaypassError } from '@daypass/core/errors';
import type { CryptoKey, PublicJwk } from '@daypass/core/key';
import { manifestDigest, parseManifest, type SnapshotTrust, verifySnapshot } from '@daypass/core/snapshot';
import type { Snapshot, SnapshotService } from '@daypass/sdk/gen/daypass/v1/snapshot_pb';
import { type ActiveSnapshot, activate } from '../active.ts';
import type { Log } from '../log.ts';
import { createReporter, type Refusal } from './reporter.ts';
import { signedOf } from './signed.ts';
import type { SnapshotStore } from './store.ts';
import { type Timing, watchForever } from './watch.ts';

type Deps = {
  readonly client: Pick<Client<typeof SnapshotService>, 'watch' | 'report'>;
  readonly store: SnapshotStore;
  readonly node: string;
  readonly fleet: string;
  readonly pool: string;
  /** The pinned fleet root. */
  readonly root: CryptoKey | PublicJwk;
  /** This software's version, for reports. */
  readonly software: string;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** In [0, 1). */
  readonly random: () => number;
  readonly log: Log;
  /** Called when the stream of the control plane is alive again. */
  readonly onConnected?: () => void;
  readonly timing?: Timing;
};

export type AgentState = {
  readonly connected: boolean;
  readonly version: number;
  /** The end of the lease in seconds since the epoch; 0 without a snapshot. */
  readonly leaseExpiresAt: number;
  /** The last refusal, until a snapshot is activated. */
  readonly refused: Refusal | undefined;
};

export type SnapshotAgent = {
  /** What requests are decided by; its lease may have ended. */
  current(): ActiveSnapshot | undefined;
  state(): AgentState;
  /** Takes the last known good snapshot from disk; one that is refused is moved aside and logged. */
  load(): Promise<void>;
  /** Begins to watch. */
  start(): void;
  stop(): Promise<void>;
};

/** Returns an agent that does nothing yet. */
export function createSnapshotAgent(deps: Deps): SnapshotAgent {
  const { store, log, now } = deps;
  const ended = new AbortController();
  let active: ActiveSnapshot | undefined;
  let refused: Refusal | undefined;
  let connected = false;
  let running: Promise<void> = Promise.resolve();
  const standing = () => ({ active, refused });
  const reporter = createReporter({ ...deps, standing });

  /** Verified in full and computed, not served yet. */
  const prepare = async (message: Snapshot): Promise<ActiveSnapshot> => {
    const signed = signedOf(message);
    const trust: SnapshotTrust = {
      root: deps.root,
      fleet: deps.fleet,
      pool: deps.pool,
      active: newestBefore(manifestDigest(signed.manifest, sha256)),
      floor: store.floor()?.version ?? 0,
      now: now() / 1000,
      sha256,
    };
    return await activate(await verifySnapshot(signed, trust), active);
  };
  /** What a snapshot of that digest has to be newer than: what is served, or what was before the last start. */
  const newestBefore = (digest: string) => {
    const floor = store.floor();
    if (active !== undefined || floor === undefined) return active;
    return digest === floor.digest ? undefined : floor;
  };

  const take = async (message: Snapshot): Promise<void> => {
    if (active !== undefined && manifestDigest(message.manifest, sha256) === active.digest) return reporter.report();
    try {
      const fresh = await prepare(message);
      await keep(message, fresh);
      active = fresh;
      refused = undefined;
      log.info('snapshot activated', { version: fresh.version, digest: fresh.digest });
    } catch (error) {
      refused = refusalOf(error, versionOf(message));
      log.error('a snapshot was refused; the active one is kept', { ...refused, active: active?.version ?? 0, error });
    }
    reporter.report();
  };
  const keep = async (message: Snapshot, { version, digest }: ActiveSnapshot) => {
    try {
      await store.save(message, { version, digest });
    } catch (error) {
      // A disk that fails must not keep a revocation from being served.
      log.error('the snapshot cannot be stored; it is served until the process ends', { error, file: store.path });
    }
  };

  return {
    current: () => active,
    state: () => ({ connected, version: active?.version ?? 0, leaseExpiresAt: active?.expiresAt ?? 0, refused }),
    async load() {
      try {
        const message = await store.load();
        if (message === undefined) return log.info('there is no snapshot on disk yet', { file: store.path });
        active = await prepare(message);
        log.info('snapshot taken from disk', { version: active.version, digest: active.digest });
      } catch (error) {
        const code = refusalOf(error, 0).code;
        // One that has only expired is whole; the clock may be wrong.
        const file = code === 'snapshot_stale' ? store.path : await store.setAside().catch(() => store.path);
        log.error('the snapshot on disk is refused; there is none until the control plane sends one', { file, error });
      }
    },
    start() {
      const handlers = {
        position: () => ({ version: BigInt(active?.version ?? 0), digest: active?.digest ?? '' }),
        onSnapshot: take,
        onConnected() {
          connected = true;
          reporter.report();
          deps.onConnected?.();
        },
        onDisconnected() {
          connected = false;
        },
        isRefusing: () => refused !== undefined,
      };
      running = watchForever({ ...deps, ...handlers, signal: ended.signal });
    },
    async stop() {
      ended.abort();
      await Promise.all([running, reporter.stop()]);
    },
  };
}

const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest();

function refusalOf(error: unknown, version: number): Refusal {
  if (error instanceof DaypassError) return { version, code: error.code, message: error.message };
  return { version, code: 'internal', message: 'The snapshot could not be activated' };
}

/** For the report on a refused snapshot only: nothing is decided by it. */
function versionOf({ manifest }: Snapshot): number {
  try {
    return parseManifest(manifest).version;
  } catch {
    return 0;
  }
}
