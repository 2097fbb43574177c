// Puts the data plane together: home, audit, snapshots, workers, admin port; and takes it apart again.
import { createServer } from 'node:net';
import { getHeapStatistics } from 'node:v8';
import { Worker } from 'node:worker_threads';
import type { Transport } from '@connectrpc/connect';
import { isLoopback, type Listen, listenOrigin } from '@daypass/core/listen';
import { signNodeAssertion } from '@daypass/core/node-auth';
import { clientsOver, createTransport } from '@daypass/sdk/client';
import { type AdminServer, createAdminServer } from './admin.ts';
import { createGroupSync } from './audit/group-sync.ts';
import { openSpool, type Spool } from './audit/spool.ts';
import { createUploader } from './audit/uploader.ts';
import { createBackoff } from './backoff.ts';
import { collectAfter } from './collect.ts';
import { canSharePorts, type DataPlaneConfig } from './config.ts';
import { createControlPlanes } from './control-planes.ts';
import { declareMetrics, readinessOf } from './health.ts';
import { type DataHome, readDataHome } from './home.ts';
import { lockFolder } from './home-lock.ts';
import { DEFAULT_LIMITS } from './limits.ts';
import { closeServer, listenOn } from './listener.ts';
import type { Log } from './log.ts';
import { createMetrics, renderFamilies, sumFamilies } from './metrics.ts';
import { createNewId } from './new-id.ts';
import { patientFetch, SILENCE_MS } from './patient-fetch.ts';
import { type SealingFolder, watchSealing } from './sealing-folder.ts';
import { createLimitMemory, declareShared, openSharedLimits } from './shared/limits.ts';
import { createSnapshotAgent } from './snapshot/agent.ts';
import { boundedFetch } from './snapshot/bounded-fetch.ts';
import { createSnapshotFeed } from './snapshot/feed.ts';
import { MESSAGE_BYTES_MAX } from './snapshot/message.ts';
import { openSnapshotStore } from './snapshot/store.ts';
import { streamTransport } from './snapshot/stream-transport.ts';
import { readTls } from './tls.ts';
import { softwareVersion } from './version.ts';
import { wrapWorker } from './workers/thread.ts';
import type { WorkerStart } from './workers/worker.ts';
import { createWorkers, type Workers } from './workers/workers.ts';

const LAST_UPLOAD_MS = 1_000;
const LEAVE_MS = 8_000;
const [FIRST_RETRY_MS, LONGEST_RETRY_MS] = [100, 5_000];
/** The main thread, among those that share limits. */
const MAIN_SLOT = 0;

export type DataPlane = {
  /** Origin of the proxy, as it listens. */
  readonly listen: string;
  /** Origin of the admin port. */
  readonly admin: string;
  /** Threads that serve. */
  readonly workers: number;
  /** Resolves when workers end faster than they can be replaced: the process is of no use any more. */
  readonly failed: Promise<unknown>;
  /** Reads the certificate and the sealing keys again, and replaces the workers one after the other. Throws `config_invalid`. */
  restart(): Promise<void>;
  /** Takes no new request, and resolves when the last one was answered. */
  drain(): Promise<void>;
  /** Ends everything; what is recorded stays on disk. */
  close(): Promise<void>;
};

/**
 * Starts a data plane; it serves from disk when the control plane is away. Throws `config_invalid` for the home and
 * files that settings name, `unavailable` for a port.
 */
export async function startDataPlane(config: DataPlaneConfig, log: Log): Promise<DataPlane> {
  await using building = new AsyncDisposableStack();
  const now = Date.now;
  const newId = createNewId();
  const version = softwareVersion();
  const home = await readDataHome(config.home, log);
  let tls = config.tls === undefined ? undefined : await readTls(config.tls);
  building.use(await lockFolder(home.spoolFolder));

  const store = await openSnapshotStore(home.snapshotFolder);
  const transport = createNodeTransport(config, home, newId, log);
  const clients = clientsOver(transport);
  const { fleet, pool, root, node } = home;
  const common = { node, log, random: Math.random };
  const strict = config.audit === 'strict';
  const spool = openSpool({ folder: home.spoolFolder, node, bytesMax: config.auditSpoolBytes, now, log, strict });
  building.defer(spool.close);
  const uploader = createUploader({ ...common, spool, client: clients.audit, key: home.nodeKey });
  building.defer(uploader.stop);

  const limits = { ...DEFAULT_LIMITS, maxInFlight: config.maxInFlight };
  const limitMemory = createLimitMemory(limits, now());
  const shared = openSharedLimits(limitMemory, MAIN_SLOT, limits, now);
  const failed = Promise.withResolvers<unknown>();
  const keyless = async () => {
    await sealing.look();
    await workers.unseal(sealing.current());
  };
  const workers = createWorkers({
    count: config.workers,
    spawn: (slot) => {
      const start = { ...startOf(config, home, spool), unsealKeys: sealing.current(), slot, tls, limitMemory };
      return startWorker(start, log, spool.appended, keyless);
    },
    async bury(slot, givenUp) {
      shared.recover(slot);
      await spool.bury(slot, givenUp);
    },
    listenAt: { at: config.listen, reusePort: canSharePorts },
    leaveMs: LEAVE_MS,
    backoff: createBackoff(FIRST_RETRY_MS, LONGEST_RETRY_MS, Math.random),
    log,
    nowMs: () => performance.now(),
    failed: failed.resolve,
  });
  building.defer(workers.close);
  const sealing: SealingFolder = watchSealing({
    folder: home.sealingFolder,
    first: home.unsealKeys,
    changed: (keys) => void workers.unseal(keys),
    log,
  });
  building.use(sealing);
  spool.onMended(workers.tellOfSpool);
  workers.start();

  const agent = createSnapshotAgent({
    ...common,
    client: clients.snapshots,
    feed: createSnapshotFeed(transport),
    store,
    fleet,
    pool,
    root,
    software: version,
    now,
    onConnected: uploader.wake,
    async install(handover, keep) {
      await workers.install(handover, keep);
      collectAfter(handover.bytes, MAIN_SLOT);
    },
  });
  building.defer(agent.stop);
  await agent.load();

  const metrics = createMetrics();
  declareMetrics(metrics, agent, spool, uploader, now);
  declareShared(metrics, shared);
  metrics.gauge('daypass_workers', 'Threads that serve', workers.serving);
  let draining = false;
  const admin = createAdminServer({
    version,
    readiness: () => readinessOf(agent, spool, workers.serving() > 0, draining, now()),
    metrics: async () => renderFamilies(sumFamilies([metrics.families(), ...(await workers.metrics())])),
  });
  building.defer(admin.close);

  const at = await openListeners(workers, admin, config);
  agent.start();
  uploader.start();
  warnAboutCleartext(config, log);
  const running = building.move();
  return {
    listen: listenOrigin(tls === undefined ? 'http' : 'https', at.data),
    admin: listenOrigin('http', at.admin),
    workers: config.workers,
    failed: failed.promise,
    // However often it is asked for, there is one at a time and one to follow.
    restart: createGroupSync(async () => {
      tls = config.tls === undefined ? undefined : await readTls(config.tls);
      await sealing.look();
      await workers.roll();
    }),
    async drain() {
      draining = true;
      await workers.drain();
    },
    async close() {
      draining = true;
      await workers.close();
      await uploader.drain(LAST_UPLOAD_MS);
      await running.disposeAsync();
    },
  };
}

/** Every call, and each of its tries, carries a fresh assertion under the node's own key: none is taken twice. */
function createNodeTransport(
  { controlUrls }: DataPlaneConfig,
  { node, fleet, nodeKey }: DataHome,
  newId: () => string,
  log: Log,
): Transport {
  const authorization = async () =>
    `Bearer ${await signNodeAssertion({ node, fleet, now: Date.now() / 1000, jti: newId() }, nodeKey)}`;
  const fetch = boundedFetch(patientFetch(globalThis.fetch, SILENCE_MS), MESSAGE_BYTES_MAX);
  const connect = (baseUrl: string) => {
    const options = { baseUrl, authorization, fetch };
    return streamTransport(createTransport(options), { ...options, bytesMax: MESSAGE_BYTES_MAX });
  };
  return createControlPlanes({ origins: controlUrls, connect, random: Math.random, log });
}

/** What workers start with that is the same for all of them. */
const startOf = (config: DataPlaneConfig, home: DataHome, spool: Spool) => ({
  node: home.node,
  spoolFolder: home.spoolFolder,
  spoolMemory: spool.memory,
  strict: config.audit === 'strict',
  auditSpoolBytes: config.auditSpoolBytes,
  maxInFlight: config.maxInFlight,
  serverTiming: config.serverTiming,
  publicUrl: config.publicUrl,
  dpopNonce: config.dpopNonce,
  controlUrls: config.controlUrls,
  allowUpstreamRanges: config.allowUpstreamRanges,
  logLevel: config.logLevel,
});

/**
 * With a limit of its own, a heap that overflows ends one worker and not the process. Without arguments of Node's:
 * most are about the process, modules that are loaded ahead (its parent, its signals) too, or refused for a thread.
 */
function startWorker(start: WorkerStart, log: Log, appended: () => void, keyless: () => void) {
  const maxOldGenerationSizeMb = Math.floor(getHeapStatistics().heap_size_limit / (1024 * 1024));
  const worker = new Worker(new URL('./workers/worker.ts', import.meta.url), {
    name: `worker ${start.slot}`,
    workerData: start,
    resourceLimits: { maxOldGenerationSizeMb },
    execArgv: [],
  });
  return wrapWorker(worker, { slot: start.slot, log, appended, keyless });
}

async function openListeners(workers: Workers, admin: AdminServer, config: DataPlaneConfig) {
  const adminAt = await admin.listen(config.adminListen);
  await checkFree(config.listen);
  return { data: await workers.listen(adminAt), admin: adminAt };
}

/** Listeners that share a port would also share it with another process of the same user. */
async function checkFree(at: Listen): Promise<void> {
  if (at.port === 0) return;
  const server = createServer();
  await listenOn(server, at);
  await closeServer(server);
}

function warnAboutCleartext(config: DataPlaneConfig, log: Log): void {
  for (const url of config.controlUrls) {
    const { hostname, protocol } = new URL(url);
    if (protocol === 'http:' && !isLoopback(hostname.replace(/^\[(.*)\]$/, '$1')))
      log.warn('the control plane is reached without TLS', { url });
  }
  if (config.tls === undefined && !isLoopback(config.listen.host))
    log.warn('tokens come to this listener without TLS', { host: config.listen.host, port: config.listen.port });
}
