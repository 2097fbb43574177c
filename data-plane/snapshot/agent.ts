// Keeps this node's configuration current: takes snapshots and deltas, verifies, has them installed, stores, reports.
import type { Client } from '@connectrpc/connect';
import { DaypassError } from '@daypass/core/errors';
import type { CryptoKey, PublicJwk } from '@daypass/core/key';
import { manifestDigest, parseManifest } from '@daypass/core/snapshot';
import type { SnapshotService } from '@daypass/sdk/gen/daypass/v1/snapshot_pb';
import type { Log } from '../log.ts';
import { slotOf } from './entry-table.ts';
import type { Received, SnapshotFeed } from './feed.ts';
import type { Handover } from './handover.ts';
import { readManifest } from './message.ts';
import { createHaste, createPace } from './pace.ts';
import { createReporter, type Refusal } from './reporter.ts';
import {
  type Candidate,
  gather,
  isScattered,
  messageOf,
  type Standing,
  sha256,
  verifyStep,
  verifyStored,
  verifyWhole,
} from './standing.ts';
import type { Floor, SnapshotStore } from './store.ts';
import { type Timing, watchForever } from './watch.ts';

type Deps = {
  readonly feed: SnapshotFeed;
  readonly client: Pick<Client<typeof SnapshotService>, 'report'>;
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
  readonly install: (handover: Handover, keep: () => Promise<void>) => Promise<void>;
  /** Called when the control plane is reached again. */
  readonly onConnected?: () => void;
  readonly timing?: Timing;
};

export type AgentState = {
  readonly connected: boolean;
  /** Streams are cut: the control plane is asked again and again. */
  readonly polling: boolean;
  readonly version: number;
  /** The end of the lease in seconds since the epoch; 0 without a snapshot. */
  readonly leaseExpiresAt: number;
  /** The last refusal, until a snapshot is activated. */
  readonly refused: Refusal | undefined;
};

/** What requests are decided by; its lease may have ended. */
export type Active = Floor & { readonly expiresAt: number };

export type SnapshotAgent = {
  current(): Active | undefined;
  state(): AgentState;
  /** Takes the last known good snapshot from disk; one that is refused is moved aside and logged. */
  load(): Promise<void>;
  /** Begins to watch. */
  start(): void;
  stop(): Promise<void>;
};

/** After a write has failed, all of the snapshot is written anew, at most this often. */
const MEND_MS = 10_000;

/** Returns an agent that does nothing yet. */
export function createSnapshotAgent(deps: Deps): SnapshotAgent {
  const { store, log, now } = deps;
  const ended = new AbortController();
  let standing: Standing | undefined;
  let refused: Refusal | undefined;
  let needsWhole = false;
  let connected = false;
  let polling = false;
  let segments = 0;
  let mendedAt = Number.NEGATIVE_INFINITY;
  let running: Promise<void> = Promise.resolve();
  const active = (): Active | undefined => standing && activeOf(standing);
  const reporter = createReporter({ ...deps, standing: () => ({ active: active(), refused }) });
  const nextNumber = (): number => {
    do segments += 1;
    while (standing?.table.segments.has(slotOf(segments)) === true);
    return segments;
  };

  const trust = (digest: string) => ({
    root: deps.root,
    fleet: deps.fleet,
    pool: deps.pool,
    node: deps.node,
    active: newestBefore(digest),
    ...trustedFloor(active(), store.floor()),
    now: now() / 1000,
    sha256,
  });
  /** What a snapshot of that digest has to be newer than: what is served, or what was before the last start. */
  const newestBefore = (digest: string): Floor | undefined => {
    const floor = store.floor();
    if (standing !== undefined || floor === undefined) return active();
    return digest === floor.digest ? undefined : floor;
  };

  /** Verified in full, then installed. */
  const install = async ({ handover, take }: Candidate, keep: () => Promise<void>): Promise<Active> => {
    await deps.install(handover, keep);
    standing = take();
    return activeOf(standing);
  };
  const take = async (received: Received): Promise<void> => {
    const manifest = readManifest(received.bytes, received.kind);
    if (manifestDigest(manifest, sha256) === standing?.whole.head.digest) {
      needsWhole = false;
      return reporter.report();
    }
    try {
      const fresh = await (received.kind === 'delta' ? takeStep(received.bytes) : takeWhole(received.bytes));
      refused = undefined;
      needsWhole = false;
      log.info('snapshot activated', { version: fresh.version, digest: fresh.digest, kind: received.kind });
    } catch (error) {
      // A delta may have been mixed up on its way: the whole, which needs no other, says more.
      needsWhole ||= received.kind === 'delta';
      refused = refusalOf(error, versionOf(manifest));
      log.error('a snapshot was refused; the active one is kept', {
        ...refused,
        active: active()?.version ?? 0,
        error,
      });
    }
    reporter.report();
    await tidy();
  };
  const takeWhole = async (bytes: Buffer): Promise<Active> => {
    // Nobody is served yet who would have to wait.
    const pace = standing === undefined ? createHaste() : createPace();
    const candidate = await verifyWhole(bytes, trust, nextNumber, pace, standing);
    return install(candidate, () => kept(store.save(bytes, floorOf(candidate))));
  };
  const takeStep = async (bytes: Buffer): Promise<Active> => {
    const candidate = await verifyStep(bytes, trust, nextNumber, standing);
    return install(candidate, () => kept(store.append(bytes, floorOf(candidate))));
  };
  const kept = async (saving: Promise<void>): Promise<void> => {
    try {
      await saving;
    } catch (error) {
      // A disk that fails must not keep a revocation from being served.
      log.error('the snapshot cannot be stored; it is served until the process ends', { error, file: store.path });
    }
  };
  /** What is scattered over many deltas is written into one message, in memory and on disk. */
  const tidy = async (): Promise<void> => {
    if (standing === undefined) return;
    const isMended = store.isBroken() && now() >= mendedAt + MEND_MS;
    if (!isMended && !isScattered(standing)) return;
    try {
      const candidate = await gather(standing, nextNumber, createPace());
      await install(candidate, async () => undefined);
      if (isMended) {
        mendedAt = now();
        await kept(store.save(messageOf(standing), floorOf(candidate)));
      } else void kept(store.rewrite(messageOf(standing)));
    } catch (error) {
      log.error('the snapshot could not be gathered into one message', { error });
    }
  };

  return {
    current: active,
    state() {
      const { version = 0, expiresAt = 0 } = active() ?? {};
      return { connected, polling, version, leaseExpiresAt: expiresAt, refused };
    },
    async load() {
      try {
        const stored = await store.load();
        if (stored === undefined) return log.info('there is no snapshot on disk yet', { file: store.path });
        const { version, digest } = await install(await verifyStored(stored, trust, nextNumber), async () => undefined);
        log.info('snapshot taken from disk', { version, digest });
      } catch (error) {
        const code = refusalOf(error, 0).code;
        // One that has only expired is whole; the clock may be wrong.
        const file = code === 'snapshot_stale' ? store.path : await store.setAside().catch(() => store.path);
        log.error('the snapshot on disk is refused; there is none until the control plane sends one', { file, error });
      }
    },
    start() {
      const handlers = {
        position() {
          const { version = 0, digest = '' } = active() ?? {};
          return { version: BigInt(version), digest, acceptsDelta: !needsWhole };
        },
        onReceived: take,
        onConnected() {
          connected = true;
          reporter.report();
          deps.onConnected?.();
        },
        onDisconnected() {
          connected = false;
        },
        onPolling(isPolling: boolean) {
          polling = isPolling;
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

const activeOf = ({ whole: { head } }: Standing): Active => ({
  version: head.manifest.version,
  digest: head.digest,
  generation: head.generation,
  expiresAt: head.manifest.expires_at,
});

const floorOf = ({ handover: { version, digest, generation } }: Candidate): Floor => ({ version, digest, generation });

/** What is on disk may be of a generation before: then its version says nothing. */
function trustedFloor(active: Floor | undefined, floor: Floor | undefined) {
  const [generation, before] = [active?.generation ?? 0, floor?.generation ?? 0];
  return generation > before ? { generation, floor: 0 } : { generation: before, floor: floor?.version ?? 0 };
}

function refusalOf(error: unknown, version: number): Refusal {
  if (error instanceof DaypassError) return { version, code: error.code, message: error.message };
  return { version, code: 'internal', message: 'The snapshot could not be activated' };
}

/** For the report on a refused snapshot only: nothing is decided by it. */
function versionOf(manifest: Uint8Array): number {
  try {
    return parseManifest(manifest).version;
  } catch {
    return 0;
  }
}
