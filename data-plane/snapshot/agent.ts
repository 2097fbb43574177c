// Keeps this node's configuration current: watches for snapshots, verifies, has them installed, stores, reports.
import { createHash } from 'node:crypto';
import type { Client } from '@connectrpc/connect';
import { DaypassError } from '@daypass/core/errors';
import type { CryptoKey, PublicJwk } from '@daypass/core/key';
import {
  manifestDigest,
  parseManifest,
  type SnapshotTrust,
  type VerifiedSnapshot,
  verifySnapshot,
} from '@daypass/core/snapshot';
import type { Snapshot, SnapshotService } from '@daypass/sdk/gen/daypass/v1/snapshot_pb';
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
  /**
   * Makes requests be decided by a snapshot: resolves when all are. `keep` is called when it is known that all can be,
   * before the first is. Throws the code of what refused it; then nothing has changed.
   */
  readonly install: (message: Snapshot, verified: VerifiedSnapshot, keep: () => Promise<void>) => Promise<void>;
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

/** What requests are decided by; its lease may have ended. */
export type Active = { readonly version: number; readonly digest: string; readonly expiresAt: number };

export type SnapshotAgent = {
  current(): Active | undefined;
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
  let active: Active | undefined;
  let refused: Refusal | undefined;
  let connected = false;
  let running: Promise<void> = Promise.resolve();
  const standing = () => ({ active, refused });
  const reporter = createReporter({ ...deps, standing });

  /** Verified in full, then installed. */
  const install = async (message: Snapshot, keep: (fresh: Active) => Promise<void>): Promise<Active> => {
    const signed = signedOf(message);
    const trust: SnapshotTrust = {
      root: deps.root,
      fleet: deps.fleet,
      pool: deps.pool,
      node: deps.node,
      active: newestBefore(manifestDigest(signed.manifest, sha256)),
      floor: store.floor()?.version ?? 0,
      now: now() / 1000,
      sha256,
    };
    const verified = await verifySnapshot(signed, trust);
    const { version, expires_at: expiresAt } = verified.manifest;
    const fresh = { version, digest: verified.digest, expiresAt };
    await deps.install(message, verified, () => keep(fresh));
    return fresh;
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
      const fresh = await install(message, (installed) => keep(message, installed));
      active = fresh;
      refused = undefined;
      log.info('snapshot activated', { version: fresh.version, digest: fresh.digest });
    } catch (error) {
      refused = refusalOf(error, versionOf(message));
      log.error('a snapshot was refused; the active one is kept', { ...refused, active: active?.version ?? 0, error });
    }
    reporter.report();
  };
  const keep = async (message: Snapshot, { version, digest }: Active) => {
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
        active = await install(message, async () => undefined);
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
